const SEGMENT_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export const isSegmentId = (text: string): boolean => SEGMENT_ID.test(text)

/** The id becomes part of a path or a key, so nothing but a UUID may pass. */
export function checkedSegmentId(segmentId: string): string {
  if (!isSegmentId(segmentId)) throw new TypeError('A segment id is a lower-case UUID')
  return segmentId
}
