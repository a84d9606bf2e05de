/** Languages in which people are told things. */

export const languages = ['en', 'cs', 'sk', 'hu', 'de'] as const
export type Language = (typeof languages)[number]

/** The language of a tag such as `de`, `DE` or `de-AT`; undefined for one that nobody wrote texts in. */
export function findLanguage(tag: string | null): Language | undefined {
  const primary = tag?.trim().split(/[-_]/, 1)[0]?.toLowerCase()
  return languages.find(language => language === primary)
}

/** The one that a reader likes best, by the header Accept-Language; English where he can read none. */
export function preferredLanguage(header: string): Language {
  const wanted = header.split(',').map(part => {
    const [tag = '', ...parameters] = part.split(';')
    const weight = parameters.find(parameter => parameter.trim().startsWith('q='))
    return { language: findLanguage(tag), weight: weight === undefined ? 1 : Number(weight.trim().slice(2)) }
  })
  const readable = wanted.filter(({ language, weight }) => language !== undefined && weight > 0)
  return readable.toSorted((a, b) => b.weight - a.weight)[0]?.language ?? 'en'
}

/** A moment as a reader of the language writes it, to the minute, in UTC, which is named. */
export function showMoment(ms: number, language: Language): string {
  const format = new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, {
    dateStyle: 'long',
    timeStyle: 'short',
    timeZone: 'UTC',
  })
  return `${format.format(ms)} UTC`
}
