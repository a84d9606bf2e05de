import { expect, test } from 'vitest'
import { subject, type Figure, type Measure, type Sizes, type Target } from './bench.ts'
import { terminalReport } from './report.ts'

const target = (name: string): Target => ({
  name,
  version: '1',
  durability: 'none',
  install: () => Promise.reject(new Error('not installed')),
})

function row(measure: Partial<Measure>, figures: Record<string, number[]>): string[] {
  const whole: Measure = { id: 'm', title: 'the measure', unit: 'MB/s', rate: true, ...measure }
  const report = terminalReport({
    date: '2026-01-01',
    machine: [],
    targets: [target(subject), target('nginx')],
    skipped: [],
    scenarios: [{ id: 's', measures: [whole], about: () => '', run: () => Promise.resolve() }],
    sizes: {} as Sizes, // only scenarios that describe themselves read it
    rounds: 1,
    quick: false,
    figures: Object.entries(figures).map(([name, values]): Figure => ({ measure: 'm', target: name, values })),
    failures: [],
  })
  const line = report.split('\n').find(text => text.startsWith('| the measure')) ?? ''
  return line
    .split('|')
    .slice(3, -1)
    .map(text => text.trim())
}

test('a share of a peer is judged by the medians', () => {
  const goal = { peer: 'nginx', must: 0.5, aim: 0.7 }
  expect(row({ goal }, { [subject]: [1, 600, 900], nginx: [1000] })).toEqual([
    '600',
    '1,000 (0.60)',
    '0.5 of nginx: met',
    '0.7 of nginx: **not met**',
  ])
})

test('a limit is met from below, and a shorter time than the peer is a ratio above 1', () => {
  const measure = { unit: 'ms', rate: false, goal: { must: 60, aim: 35 } } as const
  expect(row(measure, { [subject]: [40], nginx: [80] })).toEqual([
    '40.0',
    '80.0 (2.00)',
    '60 ms: met',
    '35 ms: **not met**',
  ])
})

test('a goal whose peer is missing is not judged', () => {
  const goal = { peer: 'nginx', must: 0.5, aim: 0.7 }
  expect(row({ goal }, { [subject]: [600] })).toEqual([
    '600',
    '-',
    '0.5 of nginx: not measured',
    '0.7 of nginx: not measured',
  ])
})
