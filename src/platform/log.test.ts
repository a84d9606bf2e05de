import { expect, test } from 'vitest'
import { createLog, loggedUrl } from '#platform/log.ts'

function recorder(isTTY = false) {
  const lines: string[] = []
  return { lines, stream: { isTTY, write: (line: string) => void lines.push(line) } }
}

test('secrets do not reach a line, at the top or one level down', () => {
  const { lines, stream } = recorder()
  const log = createLog({ level: 'info', format: 'json', stream })
  log.info({
    password: 'hunter2',
    session: { token: 'hunter2' },
    request: { headers: { cookie: 'hunter2', authorization: 'hunter2' } },
  })
  expect(lines.join('')).not.toContain('hunter2')
  expect(lines.join('')).toContain('[hidden]')
})

test('of an error only type, code, text, stack and cause are logged, without passwords in addresses', () => {
  const { lines, stream } = recorder()
  const cause = Object.assign(new Error('connect postgres://app:hunter2@db/x failed'), {
    parameters: ['hunter2'],
    code: '28P01',
  })
  createLog({ level: 'info', format: 'json', stream }).error({ err: new Error('no database', { cause }) }, 'failed')
  expect(lines.join('')).not.toContain('hunter2')
  expect(JSON.parse(lines[0]!)).toMatchObject({
    level: 'error',
    msg: 'failed',
    err: { message: 'no database', cause: { code: '28P01', message: 'connect postgres://app:[hidden]@db/x failed' } },
  })
})

test('text is written for a terminal, JSON for anything else', () => {
  const terminal = recorder(true)
  const file = recorder()
  for (const { stream } of [terminal, file])
    createLog({ level: 'info', format: 'auto', stream }).info({ port: 80 }, 'ready')
  expect(terminal.lines[0]).toMatch(/^\d\d:\d\d:\d\d INFO {2}ready port=80\n$/)
  expect(JSON.parse(file.lines[0]!)).toMatchObject({ level: 'info', msg: 'ready', port: 80 })
})

test('lines below the level are not written', () => {
  const { lines, stream } = recorder()
  createLog({ level: 'warn', format: 'json', stream }).info('quiet')
  expect(lines).toEqual([])
})

test('values of parameters that look secret are hidden in addresses, others stay', () => {
  expect(loggedUrl('/a?access_token=x&page=2&Password=y')).toBe('/a?access_token=[hidden]&page=2&Password=[hidden]')
  expect(loggedUrl('/a/b')).toBe('/a/b')
})
