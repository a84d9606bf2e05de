/** Signing in. */
import { Type as T } from 'typebox'
import { signIn } from '#core/auth.ts'
import { DomainError } from '#core/errors.ts'
import { form } from '#http/request-body.ts'
import { sessionCookies, type CookieOptions } from './auth.ts'
import { loginErrors, op } from './errors.ts'

const LoginForm = T.Object(
  { username: T.String({ minLength: 1 }), password: T.String({ minLength: 1, format: 'password' }) },
  { title: 'LoginForm' },
)
const LoginOk = T.Object({ result: T.Literal('ok'), message: T.Optional(T.String()) }, { title: 'LoginOk' })

export const loginOperations = ({ cookies }: { cookies: CookieOptions }) => [
  op({
    id: 'loginBasic',
    method: 'POST',
    path: '/login/basic',
    tag: 'Login',
    summary: 'Start a session',
    access: 'public',
    body: form(LoginForm),
    reply: LoginOk,
    headers: {
      'Set-Cookie': 'Sent twice: sp-http-usr (login) and sp-http-ses (secret). Both accompany every later call.',
    },
    refusals: { 401: 'Wrong credentials.', 404: 'User name or password missing.' },
    errors: loginErrors,
    handler: async ({ ctx, body, reply }) => {
      const { client, address } = ctx.actor
      // No account has one, and not every database can be asked for it.
      if (body.username.includes('\0')) throw new DomainError('wrong-credentials', {})
      const { secret } = await signIn(ctx, { login: body.username, password: body.password, client, address })
      reply.header('set-cookie', sessionCookies(body.username, secret, cookies))
      return { result: 'ok' as const }
    },
  }),
]
