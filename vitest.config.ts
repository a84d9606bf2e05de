import { defineConfig } from 'vitest/config'

/** Each engine is a project; tests do not know on which one they run. */
const { TEST_DATABASE_URL } = process.env

const project = (name: string, url: string) => ({
  extends: true as const,
  test: { name, env: { TEST_DATABASE_URL: url } },
})

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    maxWorkers: 2,
    projects: [project('sqlite', ''), ...(TEST_DATABASE_URL ? [project('postgres', TEST_DATABASE_URL)] : [])],
  },
})
