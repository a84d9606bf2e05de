/** Sending the content of a file. */
import type { OutgoingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Ctx } from '#core/ctx.ts'
import { openCurrentContent, type OpenedContent } from '#core/downloads.ts'
import { contentDisposition, sendContent, type Content } from '#http/downloads.ts'
import { headerType } from '#http/media-types.ts'
import type { OpenFile } from './open.ts'

interface Exchange {
  ctx: Ctx
  request: FastifyRequest
  reply: FastifyReply
}

/** Answers with the file. Throws what openCurrentContent throws, and content that fails before its first byte. */
export async function sendFile({ ctx, request, reply }: Exchange, file: OpenFile): Promise<FastifyReply> {
  const content = contentOf(await openCurrentContent(ctx, file))
  // The same headers: Fastify's type lets any of them be a number, Node's does not.
  const getHeaders = () => reply.getHeaders() as OutgoingHttpHeaders
  await sendContent(request, { raw: reply.raw, hijack: () => reply.hijack(), getHeaders }, content)
  return reply
}

function contentOf(opened: OpenedContent): Content {
  const { node, version } = opened
  return {
    sizeBytes: version.sizeBytes,
    etag: `"${version.id}"`,
    modifiedAt: version.createdAt,
    contentType: headerType(version.mediaType),
    disposition: contentDisposition(node.name),
    open(start, end) {
      const bytes = opened.inline()?.subarray(start, end) ?? opened.read(start, end)
      opened.noteRead()
      return bytes
    },
  }
}
