/** Throw-away buckets on the S3 engine that ENTREPOT_TEST_S3_ENDPOINT names; `npm run test:s3` starts one. */
import { randomUUID } from 'node:crypto'
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { S3Access, S3Place } from '#platform/blobs/location.ts'
import { openClient } from '#platform/blobs/s3-bucket.ts'

const { ENTREPOT_TEST_S3_ENDPOINT: endpoint, ENTREPOT_TEST_S3_REGION: region } = process.env
const { ENTREPOT_TEST_S3_ACCESS_KEY: accessKey = '', ENTREPOT_TEST_S3_SECRET_KEY: secretKey = '' } = process.env

export const testS3: S3Access | undefined = endpoint
  ? {
      endpoint,
      region: region ?? 'us-east-1',
      accessKey,
      secretKey,
      pathStyle: true,
      publicEndpoint: '',
      direct: true,
    }
  : undefined

export interface TestBucket extends AsyncDisposable {
  place: S3Place
  client: S3Client
  read(key: string): Promise<Buffer>
  write(key: string, bytes: Uint8Array): Promise<void>
  keys(): Promise<string[]>
}

/** Makes an empty bucket; disposing of it removes what is in it. */
export async function makeBucket(prefix = ''): Promise<TestBucket> {
  if (!testS3) throw new Error('ENTREPOT_TEST_S3_ENDPOINT is not set')
  const place: S3Place = { kind: 's3', bucket: `test-${randomUUID()}`, prefix, ...testS3 }
  const client = openClient(place)
  const { bucket: Bucket } = place
  await client.send(new CreateBucketCommand({ Bucket }))

  const keys = async () => {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
    return Contents.map(({ Key = '' }) => Key)
  }
  return {
    place,
    client,
    keys,
    async read(Key) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
      return Buffer.from((await Body?.transformToByteArray()) ?? [])
    },
    async write(Key, Body) {
      await client.send(new PutObjectCommand({ Bucket, Key, Body }))
    },
    async [Symbol.asyncDispose]() {
      for (let left = await keys(); left.length > 0; left = await keys()) {
        await Promise.all(left.map(Key => client.send(new DeleteObjectCommand({ Bucket, Key }))))
      }
      await client.send(new DeleteBucketCommand({ Bucket }))
      client.destroy()
    },
  }
}
