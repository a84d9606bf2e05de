/** Keeps mails in memory, for tests. */
import type { Mailer, OutgoingMail } from '#core/ports.ts'

export interface MemoryMailer extends Mailer {
  /** In the order in which they were handed over. */
  readonly sent: OutgoingMail[]
}

export function memoryMailer(): MemoryMailer {
  const sent: OutgoingMail[] = []
  return { kind: 'smtp', sent, send: async mail => void sent.push(mail), close: async () => {} }
}
