/** Shows a content to every engine and sums up what they say. Reads and asks; writes nothing. */
import type { Selectable } from 'kysely'
import type { ScreeningCheckTable, VersionTable } from '#db/schema.ts'
import { freeMemory, loadContent, type Content } from './content.ts'
import { loadRules } from './content-rules.ts'
import type { Ctx } from './ctx.ts'
import { isDomainError } from './errors.ts'
import type { Examined, ScreeningEngine, Verdict } from './ports.ts'

type Version = Selectable<VersionTable>

export type Check = Omit<Selectable<ScreeningCheckTable>, 'versionId'>

export interface Examination {
  checks: Check[]
  /** What the content is now; undefined where that has to wait for an engine or for the store. */
  state: 'clean' | 'quarantined' | 'failed' | 'not-examinable' | undefined
  /** Why it has to wait. */
  obstacle?: Error
  integrity: Version['integrity']
}

/**
 * Every engine gets its turn, also after one has found something. A content that cannot be read back is `failed`; one that is
 * `quarantined` stays so whoever is away. Rejects only when `signal` aborts.
 */
export async function examine(
  ctx: Ctx,
  { version, name }: { version: Version; name: string },
  signal: AbortSignal,
): Promise<Examination> {
  // Nobody wants to look, so nothing is read back either.
  if (ctx.engines.length === 0) return { checks: [], state: 'clean', integrity: version.integrity }
  const source = await openSource(ctx, version)
  const { mediaType, sizeBytes } = version
  const examined: Examined = { name, mediaType, sizeBytes, read: source.read, rules: await loadRules(ctx) }
  const answers: Answer[] = []
  for (const engine of ctx.engines) {
    if (source.failure) break
    answers.push(await ask(ctx, engine, examined, signal))
  }
  await source.readWhole(signal)
  return sumUp(answers, source.failure, ctx.settings.screeningTooLarge)
}

interface Answer {
  check: Check
  quarantines: boolean
  /** A mandatory engine could not look at so much. */
  isTooLarge?: boolean
  /** Of a mandatory engine that was away. */
  obstacle?: Error
}

async function ask(ctx: Ctx, engine: ScreeningEngine, examined: Examined, signal: AbortSignal): Promise<Answer> {
  const startedAt = ctx.clock()
  const checkOf = (verdict: Check['verdict'], { name = null, description = null }: Partial<Check> = {}): Check => ({
    engine: engine.name,
    verdict,
    name,
    description,
    startedAt,
    finishedAt: ctx.clock(),
  })
  try {
    const { kind, quarantines, ...found } = await inTime(engine, examined, signal)
    return { check: checkOf(kind, shortened(found)), quarantines, isTooLarge: kind === 'too-large' && engine.mandatory }
  } catch (error) {
    signal.throwIfAborted()
    const check = checkOf('unavailable')
    if (!engine.mandatory) return { check, quarantines: false }
    return { check, quarantines: false, obstacle: new Error(`Engine ${engine.name} is away: ${String(error)}`) }
  }
}

const MAX_FINDING_LENGTH = 200

const shortened = ({ name, description }: Pick<Verdict, 'name' | 'description'>): Partial<Check> => ({
  name: name?.slice(0, MAX_FINDING_LENGTH) ?? null,
  description: description?.slice(0, MAX_FINDING_LENGTH) ?? null,
})

/** An engine that does not heed its signal is left behind all the same. */
async function inTime(engine: ScreeningEngine, examined: Examined, signal: AbortSignal): Promise<Verdict> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const aborter = new AbortController()
  const timer = setTimeout(() => aborter.abort(new Error(`No answer in ${engine.timeoutMs} ms`)), engine.timeoutMs)
  const both = AbortSignal.any([signal, aborter.signal])
  const stop = () => reject(both.reason)
  both.addEventListener('abort', stop, { once: true })
  if (both.aborted) stop()
  try {
    return await Promise.race([engine.examine(examined, both), late])
  } finally {
    clearTimeout(timer)
    both.removeEventListener('abort', stop)
  }
}

interface Source {
  read: Examined['read']
  /** What kept somebody from reading. */
  readonly failure: unknown
  /** Reads the whole, unless an engine has: that alone shows that all of it is there. */
  readWhole(signal: AbortSignal): Promise<void>
}

async function openSource(ctx: Ctx, version: Version): Promise<Source> {
  let failure: unknown
  let isWhole = false
  const content = await loadContent(ctx, version).catch((error: unknown) => void (failure = error))
  const { sizeBytes } = version
  async function* read(start = 0, end = sizeBytes): AsyncGenerator<Uint8Array> {
    const last = Math.min(end, sizeBytes)
    try {
      yield* readBetween(content, start, last)
      isWhole ||= start === 0 && last === sizeBytes
    } catch (error) {
      failure ??= error
      throw error
    }
  }
  return {
    read,
    get failure() {
      return failure
    },
    async readWhole(signal) {
      if (isWhole || failure) return
      // What goes wrong is kept as the failure.
      await drain(read(), signal).catch(() => {})
      signal.throwIfAborted()
    },
  }
}

async function drain(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
  for await (const chunk of chunks) {
    signal.throwIfAborted()
    freeMemory(chunk)
  }
}

async function* readBetween(content: Content | undefined, start: number, end: number): AsyncGenerator<Uint8Array> {
  if (content && start < end) yield* content.read(start, end)
}

function sumUp(answers: readonly Answer[], failure: unknown, tooLarge: 'hold' | 'pass'): Examination {
  const checks = answers.map(answer => answer.check)
  const integrity = integrityOf(failure)
  if (answers.some(answer => answer.quarantines)) return { checks, state: 'quarantined', integrity }
  if (integrity === 'corrupted') return { checks, state: 'failed', integrity }
  const obstacle =
    integrity === 'inaccessible' ? new Error(`The content cannot be read: ${String(failure)}`) : undefined
  const away = obstacle ?? answers.find(answer => answer.obstacle)?.obstacle
  if (away) return { checks, state: undefined, obstacle: away, integrity }
  // Nobody has looked at it whole, which is no word in its favour.
  const isHeld = tooLarge === 'hold' && answers.some(answer => answer.isTooLarge)
  return { checks, state: isHeld ? 'not-examinable' : 'clean', integrity }
}

function integrityOf(failure: unknown): Examination['integrity'] {
  if (!failure) return 'ok'
  return isDomainError(failure, 'content-damaged') ? 'corrupted' : 'inaccessible'
}
