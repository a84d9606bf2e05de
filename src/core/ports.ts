/**
 * What the core needs from the world outside the database. `platform/` implements these; the core never knows which
 * implementation it got.
 */

/** Milliseconds since the epoch. Tests move it. */
export type Clock = () => number

/** One piece of a stored blob. A blob is its segments in the order of `startByte`; sealing copies nothing. */
export interface SegmentRef {
  /** UUID, unique for ever: it also separates the key streams of two segments under one data key. */
  segmentId: string
  /** Plain bytes in this segment. */
  sizeBytes: number
  /** It lies in the store as it is, without frames: a client put it there by an address of the medium. */
  plain?: boolean
}

/** What is known about a segment once it is durable. Digests are over the plain bytes, lower-case hex. */
export interface StoredSegment extends SegmentRef {
  sha256: string
  /** Only when asked for. */
  md5?: string
}

/**
 * A segment being written. One writer, one producer; calls must not overlap.
 * Ends with exactly one of `finish` and `abort`; `abort` may be called at any time, also after a failure, and twice.
 */
export interface SegmentWriter {
  /**
   * Takes the bytes; the caller may reuse `chunk` once the promise has resolved, or at once where none is returned.
   * A returned promise is back pressure: wait for it before the next call.
   */
  write(chunk: Uint8Array): Promise<void> | undefined
  /** Makes the segment durable (file and folder synced, or the object acknowledged) and then resolves. */
  finish(): Promise<StoredSegment>
  /** Removes every trace of the segment. Never throws. */
  abort(): Promise<void>
}

/**
 * Stores opaque, encrypted pieces of files. The store hashes, encrypts in frames and syncs; it knows no files, no users.
 *
 * Duties of the store: a segment is invisible to `read` and `list` until `finish` resolved; `read` gives exactly the plain
 * bytes or throws; it retries what is worth retrying. Duties of the caller: the row that refers to a segment is committed
 * only after `finish`; segments without a row are removed by a job (`list` finds them).
 */
export interface BlobStore {
  readonly kind: 'disk' | 'memory' | 's3'
  /**
   * Starts a segment under a 32-byte data key.
   * Throws DomainError `storage-full` when the medium refuses for lack of room (also from `write` and `finish`).
   */
  create(input: { segmentId: string; key: Uint8Array; md5?: boolean }): Promise<SegmentWriter>
  /**
   * Plain bytes `start` (inclusive) to `end` (exclusive) of a segment, decrypting only the frames touched.
   * Chunks are owned by the consumer. Throws DomainError `content-damaged` where bytes are missing or fail authentication.
   * Leaving the loop early releases everything.
   */
  read(input: { segment: SegmentRef; key: Uint8Array; start: number; end: number }): AsyncIterable<Uint8Array>
  /** Removes segments for good; unknown ones are no error. */
  remove(segmentIds: readonly string[]): Promise<void>
  /** Everything there is, finished or abandoned, in no particular order. */
  list(): AsyncIterable<StoredObject>
  /**
   * The stored form of a segment, byte for byte, for backups and moves. Throws DomainError `content-damaged` when it is
   * not there.
   */
  readStored(segmentId: string): AsyncIterable<Uint8Array>
  /** Puts a stored form of exactly `storedBytes` under its id and makes it durable; what is there is replaced. */
  writeStored(segmentId: string, stored: AsyncIterable<Uint8Array>, storedBytes: number): Promise<void>
  /** There where clients can reach the medium themselves. */
  readonly direct?: DirectAccess
  /** Resolves when the store can take a write; rejects with the reason. For /readyz. */
  check(): Promise<void>
  close(): Promise<void>
}

/** Addresses of the medium, which clients use without us: the bytes never pass through the server. Times are epoch milliseconds. */
export interface DirectAccess {
  /**
   * Takes a PUT of exactly `sizeBytes` and, where one is named, of that media type. The bytes land under `putId`, a UUID,
   * beside the segments; putting again replaces them. `list` shows them under that id as `staged`, `remove` takes them too.
   */
  putAddress(input: { putId: string; sizeBytes: number; contentType?: string; expiresAt: number }): Promise<string>
  /**
   * Makes what was put under `putId` a segment, as a copy within the medium that the address does not reach; what was put
   * stays until it is removed. Answers its size in bytes, or undefined when nothing was put.
   */
  adopt(input: { putId: string; segmentId: string }): Promise<{ sizeBytes: number } | undefined>
  /** Gives a plain segment, with the named headers. */
  getAddress(input: { segmentId: string; contentType: string; disposition: string; expiresAt: number }): Promise<string>
}

export interface StoredObject {
  segmentId: string
  /** `staged`: being written or left behind by a crash. */
  state: 'staged' | 'stored'
  /** Bytes on the medium, encryption included. */
  storedBytes: number
  /** Last change, epoch milliseconds. */
  changedAt: number
}

/** A content as an engine sees it. */
export interface Examined {
  /** As its owner calls it. */
  name: string
  mediaType: string
  sizeBytes: number
  /** Plain bytes from `start` (inclusive) to `end` (exclusive), as often as wanted. Throws DomainError `content-damaged`. */
  read(start?: number, end?: number): AsyncIterable<Uint8Array>
  /** What the tenant does not want to leave. */
  rules: readonly ContentRule[]
}

export interface ContentRule {
  name: string
  kind: 'pattern' | 'keywords' | 'card-number' | 'bank-account'
  /** Regular expressions (RE2) or words; none for numbers, which are known by their check digits. */
  terms: readonly string[]
  /** Different places or numbers that must be there. */
  minMatches: number
  effect: 'flag' | 'quarantine'
}

/** What an engine says. `quarantines`: nobody gets the content unless somebody releases it. */
export interface Verdict {
  kind: 'clean' | 'infected' | 'matched' | 'bomb' | 'encrypted' | 'too-large'
  quarantines: boolean
  /** What was found, in the engine's words; at most 200 characters, never a part of the content. */
  name?: string
  description?: string
}

/**
 * Looks into contents. Duties of the engine: it holds no more of a content in memory than it needs, gives everything back
 * when the signal aborts, and throws when it is away or cannot judge. Duties of the caller: it aborts after `timeoutMs`.
 */
export interface ScreeningEngine {
  readonly name: string
  /** While a mandatory engine is away, contents stay unscreened; another one is left out. */
  readonly mandatory: boolean
  readonly timeoutMs: number
  /**
   * True where the first bytes (512, or all where there are fewer) show that there is nothing to find: then the content
   * need not be read back. Absent: it always must be.
   */
  isHarmless?(head: Uint8Array, content: Pick<Examined, 'sizeBytes' | 'rules'>): boolean
  /** Why a rule cannot be followed, in a few words; undefined where it can. */
  checkRule?(rule: ContentRule): string | undefined
  examine(content: Examined, signal: AbortSignal): Promise<Verdict>
  close?(): Promise<void>
}

/** A mail ready to go. */
export interface OutgoingMail {
  /** The same for each try, so that a receiver can tell a repeated one. Without angle brackets. */
  messageId: string
  to: { name: string; address: string }
  subject: string
  text: string
  html: string
}

/** Hands mails over. Throws MailRefused where trying again is of no use, anything else where it is. */
export interface Mailer {
  /** `spool`: mails are kept in a folder, as nothing is configured to send them. */
  readonly kind: 'smtp' | 'spool'
  send(mail: OutgoingMail): Promise<void>
  close(): Promise<void>
}

/** Wraps data keys and seals small secrets. Implemented over the key ring file. */
export interface KeyRing {
  /** Name of the key that new wraps use, such as `master:2`. */
  readonly current: string
  /** Names of all keys that can still unwrap. */
  readonly names: readonly string[]
  /** AES-256-GCM under the named key (default: the current one). `context` is bound as additional data. */
  seal(plain: Uint8Array, context: string, keyName?: string): Uint8Array
  /** Reverses `seal`; throws DomainError `content-damaged` for an unknown key, another context or altered bytes. */
  open(sealed: Uint8Array, context: string, keyName: string): Uint8Array
  /** Keyed hash for looking up a secret without storing it, 32 bytes hex; the same for the life of the installation. */
  lookup(secret: string): string
}

/** The frame format for a whole small segment in one buffer: what is kept inline in the database. */
export interface InlineFrames {
  encrypt(input: { segmentId: string; key: Uint8Array; plain: Uint8Array }): Uint8Array
  /** Throws DomainError `content-damaged`. */
  decrypt(input: { segmentId: string; key: Uint8Array; stored: Uint8Array; sizeBytes: number }): Uint8Array
  /** Bytes that so many plain ones take up once they are encrypted, on the medium too. */
  storedSize(sizeBytes: number): number
}
