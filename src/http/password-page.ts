/** The page behind a mailed link, where somebody chooses a password: a form without scripts. */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { anonymousActor } from '#core/auth.ts'
import { makeCtx, type Ctx, type Deps } from '#core/ctx.ts'
import { isDomainError, type DomainError, type ErrorCode } from '#core/errors.ts'
import { html, type Html } from '#core/html.ts'
import { findLanguage, preferredLanguage, type Language } from '#core/languages.ts'
import { choosePassword, getPasswordLink, type PasswordLink } from '#core/password-links.ts'
import { findTenantByHost } from '#core/tenants.ts'
import { asDomainError } from './errors.ts'
import { passwordPageTexts, type PasswordPageTexts } from './password-page-texts.ts'

const PATH = '/account/password'
/** Two passwords of the longest kind, every byte of them written as three. */
const FORM_LIMIT_BYTES = 8 * 1024

const style = `
:root { color-scheme: light dark; --accent: light-dark(#0a5a8a, #7cc4f0); --line: light-dark(#666, #999) }
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 0 auto; padding: 3rem 1.25rem }
h1 { font-size: 1.5rem; margin: 0 0 1.5rem } label { display: block; font-weight: 600 }
input { display: block; width: 100%; margin: .25rem 0 1.25rem; padding: .6rem .7rem; font: inherit; color: inherit;
  background: none; border: 1px solid var(--line); border-radius: .35rem }
button { font: inherit; font-weight: 600; padding: .65rem 1.25rem; border: 0; border-radius: .35rem; color: Canvas;
  background: var(--accent); cursor: pointer }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
[role=alert] { border-left: 4px solid light-dark(#b00020, #ff8a8a); padding: .5rem .75rem; margin: 0 0 1.5rem }
`

const policy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

/** Routes the page. */
export async function addPasswordPage(app: FastifyInstance, { deps }: { deps: Deps }): Promise<void> {
  await app.register(async scope => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string', bodyLimit: FORM_LIMIT_BYTES },
      (_request, body, done) => done(null, new URLSearchParams(String(body))),
    )
    scope.setErrorHandler((error, request, reply) => answerError(error, request, reply))
    scope.get(PATH, async (request, reply) => {
      const token = tokenOf(request)
      const link = await getPasswordLink(await visitorCtx(deps, request), { token })
      return sendPage(reply, 200, formPage(deps, { link, token, language: languageOf(request, link) }))
    })
    scope.post(PATH, async (request, reply) => answerForm(deps, request, reply))
  })
}

async function visitorCtx(deps: Deps, request: FastifyRequest): Promise<Ctx> {
  const tenant = await findTenantByHost(deps, request.host)
  const actor = anonymousActor(tenant.id, request.headers['user-agent'] ?? '', request.ip)
  return makeCtx(deps, actor, request.id)
}

async function answerForm(deps: Deps, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams()
  const [token, password] = [form.get('token') ?? '', form.get('password') ?? '']
  const ctx = await visitorCtx(deps, request)
  const link = await getPasswordLink(ctx, { token })
  const language = languageOf(request, link)
  const again = (problem: string) => sendPage(reply, 400, formPage(deps, { link, token, language, problem }))
  if (password !== form.get('repeat')) return again(passwordPageTexts[language].differs)
  try {
    await choosePassword(ctx, { token, password })
  } catch (error) {
    if (!isDomainError(error, 'password-refused')) throw error
    return again(refusalText(error, language, deps))
  }
  return sendPage(reply, 200, notePage(passwordPageTexts[language].done, language))
}

/** A parameter that is given twice is none. */
function tokenOf({ query }: FastifyRequest): string {
  const { token } = query as { token?: unknown } // the parser's own object
  return typeof token === 'string' ? token : ''
}

const languageOf = (request: FastifyRequest, link?: PasswordLink): Language =>
  findLanguage(link?.language ?? null) ?? preferredLanguage(request.headers['accept-language'] ?? '')

function refusalText({ details }: DomainError<'password-refused'>, language: Language, { settings }: Deps): string {
  const words = passwordPageTexts[language]
  switch (details.rule) {
    case 'too-short':
      return `${words.tooShort} ${settings.passwordMinLength}`
    case 'too-long':
      return words.tooLong
    case 'forbidden-character':
    case 'same':
      return words.forbiddenCharacter
  }
}

type Answer = readonly [status: number, words: keyof PasswordPageTexts]

/** What the page tells of refusals besides that of the password itself. */
const refusals: Partial<Record<ErrorCode, Answer>> = {
  'not-found': [404, 'unknownLink'],
  throttled: [429, 'tooManyTries'],
  'invalid-input': [400, 'refused'],
  busy: [503, 'tryLater'],
  'storage-full': [503, 'tryLater'],
}
const fault: Answer = [500, 'tryLater']

/** Refusals in words; what is no refusal is a fault of ours and goes into the log. */
function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = asDomainError(error)
  const answer = refusal && refusals[refusal.code]
  if (!answer) request.log.error({ err: error, reqId: request.id }, 'the password page failed')
  const [status, words] = answer ?? fault
  if (isDomainError(refusal, 'throttled')) reply.header('retry-after', Math.ceil(refusal.details.retryAfterMs / 1000))
  const language = languageOf(request)
  return sendPage(reply, status, notePage(passwordPageTexts[language][words], language, 'alert'))
}

/** Its action is relative, so that it also works behind a proxy that puts a path before ours. */
function formPage(
  { settings }: Deps,
  { link, token, language, problem }: { link: PasswordLink; token: string; language: Language; problem?: string },
): string {
  const words = passwordPageTexts[language]
  const login = link.login ?? link.name
  return page(
    language,
    html`${problem === undefined ? html`` : html`<p role="alert" id="problem">${problem}</p>`}
      <form method="post" action="password">
        <input type="hidden" name="token" value="${token}" />
        <label for="login">${words.login}</label>
        <input id="login" value="${login}" autocomplete="username" readonly />
        ${passwordField('password', words.password, settings.passwordMinLength, problem !== undefined)}
        ${passwordField('repeat', words.repeat, settings.passwordMinLength, problem !== undefined)}
        <button>${words.submit}</button>
      </form>`,
  )
}

const passwordField = (name: string, label: string, minLength: number, isWrong: boolean): Html =>
  html`<label for="${name}">${label}</label>
    <input
      id="${name}"
      name="${name}"
      type="password"
      autocomplete="new-password"
      minlength="${minLength}"
      required
      ${isWrong ? html`aria-invalid="true" aria-describedby="problem"` : html``}
    />`

const notePage = (text: string, language: Language, role: 'status' | 'alert' = 'status'): string =>
  page(language, html`<p role="${role}">${text}</p>`)

/** Apart from the template, so that no formatting touches the bytes that the policy names. */
const styleElement: Html = { html: `<style>${style}</style>` }

function page(language: Language, content: Html): string {
  const { title } = passwordPageTexts[language]
  return html`<!doctype html>
    <html lang="${language}">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        ${styleElement}
      </head>
      <body>
        <main>
          <h1>${title}</h1>
          ${content}
        </main>
      </body>
    </html> `.html
}

const sendPage = (reply: FastifyReply, status: number, text: string): FastifyReply =>
  reply
    .code(status)
    .type('text/html; charset=utf-8')
    .headers({ 'content-security-policy': policy, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
    .send(text)
