/** Blobs that clients announce here and fill under a signed address. */
import { Type as T } from 'typebox'
import { announceBlob } from '#core/blob-uploads.ts'
import { baseUrl } from '#http/addresses.ts'
import { op, refusals } from './errors.ts'
import { blobName } from './file.ts'
import { MEDIA_TYPE } from '#http/media-types.ts'
import { addressOf } from './storage.ts'

const PresignedUpload = T.Object({
  blobName: T.String({ pattern: '^[0-9a-f]{32}$', description: 'Use as blob_name.' }),
  presignedUrl: T.String({ format: 'uri', description: 'Temporary PUT address.' }),
})

const MAX_MEDIA_TYPE_LENGTH = 255

/** `publicUrl`: what addresses begin with; by default what the client used. */
export const blobOperations = ({ publicUrl }: { publicUrl: string | undefined }) => [
  op({
    id: 'createPresignedUpload',
    method: 'POST',
    path: '/api/v3/blob/presigned-upload-url/',
    tag: 'Blobs',
    summary: 'Create a blob and get an upload address',
    description: 'Parameters travel in the query; there is no body.',
    query: T.Object({
      content_length: T.Integer({ minimum: 0, description: 'Bytes to be uploaded.' }),
      content_type: T.Optional(
        T.String({
          pattern: `^$|${MEDIA_TYPE}`,
          maxLength: MAX_MEDIA_TYPE_LENGTH,
          description: 'Media type to be uploaded; when given, the PUT must send the same.',
        }),
      ),
    }),
    reply: PresignedUpload,
    refusals: { 400: 'Length missing, no number, or too large, or no media type.', 401: refusals[401] },
    handler: async ({ ctx, query, request }) => {
      const { content_length: announcedBytes, content_type: mediaType } = query
      const announced = await announceBlob(ctx, { announcedBytes, ...(mediaType && { mediaType }) })
      const blob = blobName(announced)
      const address = {
        method: 'PUT' as const,
        blob,
        expiresAt: announced.addressExpiresAt,
        contentType: mediaType ?? '',
      }
      return {
        blobName: blob,
        presignedUrl: announced.directAddress ?? addressOf(ctx, baseUrl(request, publicUrl), address),
      }
    },
  }),
]
