/** What the very first start says. */
import type { SignIn } from '#app'

/** The text that the first start prints. The curl line works as pasted; it keeps the cookies in memory only. */
export function greeting(
  { login, password }: SignIn,
  { baseUrl, dialects }: { baseUrl: string; dialects: readonly string[] },
): string {
  const lines = [`First start. Sign in as "${login}" with the password "${password}" (shown only now).`, '']
  if (!dialects.includes('mft')) return lines.join('\n')
  const url = baseUrl.replace('//0.0.0.0', '//127.0.0.1').replace('//[::]', '//[::1]')
  const signIn = `-sS -b '' -d username=${login} -d password=${password} ${url}/2.0/login/basic`
  const upload = `-sS -b '' -X PUT -F 'file=@-;filename=hello.txt' ${url}/2.0/files/hello.txt`
  return [...lines, 'Sign in and upload a file:', '', `  echo hello | curl ${signIn} --next ${upload}`, ''].join('\n')
}
