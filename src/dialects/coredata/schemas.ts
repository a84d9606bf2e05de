/** Parameters that several operations share. */
import { Type as T } from 'typebox'

const id = (what: string) => T.String({ format: 'uuid', description: what })

export const FilePath = T.Object({ file_id: id('File.') })
export const ProjectPath = T.Object({ project_id: id('Project.') })
export const FolderPath = T.Object({ folder_id: id('Folder.') })
export const SpacePath = T.Object({ space_id: id('Space.') })
export const ContactPath = T.Object({ contact_id: id('Contact.') })
export const BlobPath = T.Object({ blob_name: T.String({ pattern: '^[0-9a-f]{32}$', description: 'Blob.' }) })

const signed = {
  AWSAccessKeyId: T.String({ description: 'Key ID of the signer.' }),
  Expires: T.Integer({ description: 'End of validity, Unix seconds.' }),
  Signature: T.String({ description: 'Base64 HMAC-SHA1 over everything that the address fixes.' }),
}
export const SignedQuery = T.Object(signed)
export const SignedGetQuery = T.Object({
  ...signed,
  'response-content-disposition': T.Optional(
    T.String({ description: 'Disposition to send; covered by the signature.' }),
  ),
  'response-content-type': T.Optional(T.String({ description: 'Media type to send; covered by the signature.' })),
  versionId: T.Optional(T.String({ description: 'The version that the address is for; covered by the signature.' })),
})
