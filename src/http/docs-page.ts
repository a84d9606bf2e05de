/** The documentation as HTML: one file, no scripts, nothing from elsewhere. */
import { createHash } from 'node:crypto'
import type { TSchema } from 'typebox'
import { html, joinHtml, type Html } from '#core/html.ts'
import { mediaTypes } from './request-body.ts'
import type { DialectDescription, SecurityScheme } from './openapi.ts'
import type { Operation } from './operation.ts'

const style = `
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: light-dark(#0a5a8a, #7cc4f0) }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 6rem }
h1 { font-size: 1.9rem; margin: 0 0 .25rem } h2 { margin: 3rem 0 1rem; border-bottom: 1px solid var(--line) }
h3 { margin: 0; font-size: 1.05rem } h4 { margin: 1rem 0 .25rem; font-size: .85rem; opacity: .75 }
a { color: var(--accent) } code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere }
article { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.25rem; margin: 1rem 0 }
article:target { border-color: var(--accent) }
.call { display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; margin: .35rem 0 .5rem }
.method { font-weight: 700; color: var(--accent) } .mark { font-size: .8rem; opacity: .75 }
table { border-collapse: collapse; width: 100%; font-size: .92rem } th { text-align: left; opacity: .7; font-weight: 600 }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .75rem .3rem 0; vertical-align: top }
ul.plain { list-style: none; padding: 0; columns: 18rem } ul.plain li { margin: .2rem 0; break-inside: avoid }
pre { background: var(--soft); padding: .75rem; border-radius: .4rem; overflow: auto; margin: .25rem 0 }
`

/** For the header Content-Security-Policy of these pages. */
export const pagePolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export function indexPage(dialects: readonly DialectDescription[]): string {
  const rows = dialects.map(
    ({ name, title, version, summary, prefix, operations }) =>
      html`<article>
        <h3><a href="/docs/${name}/">${title} ${version}</a></h3>
        <p>${summary}</p>
        <p class="mark">
          ${operations.length} operations${prefix ? html` below <code>${prefix}</code>` : html``} ·
          <a href="/docs/${name}/openapi.json">OpenAPI</a>
        </p>
      </article>`,
  )
  return page(
    'APIs of this server',
    html`<h1>APIs of this server</h1>
      <p>One store, one permission model, one audit trail: what comes in by one API can be seen by all.</p>
      ${joinHtml(rows)}`,
  )
}

export function dialectPage({
  name,
  title,
  version,
  summary,
  prefix,
  tags,
  security,
  securityNeeds = 'all',
  operations,
}: DialectDescription): string {
  const keys = Object.values(security).map(keyPart)
  const contents = operations.map(({ id, summary }) => html`<li><a href="#${id}">${summary}</a></li>`)
  const sections = Object.entries(tags).map(([tag, about]) => {
    const own = operations.filter(operation => operation.tag === tag)
    return html`<h2>${tag}</h2>
      <p>${about}</p>
      ${joinHtml(own.map(operation => operationPart(operation, prefix)))}`
  })
  return page(
    `${title} ${version}`,
    html`<p><a href="/docs/">All APIs</a></p>
      <h1>${title} ${version}</h1>
      <p>${summary} <a href="/docs/${name}/openapi.json">OpenAPI document</a></p>
      <h4>Every call but those marked public carries${securityNeeds === 'any' ? ' one of' : ''}</h4>
      <ul>
        ${joinHtml(keys)}
      </ul>
      <ul class="plain">
        ${joinHtml(contents)}
      </ul>
      ${joinHtml(sections)}`,
  )
}

function keyPart(key: SecurityScheme): Html {
  const [place, name] = key.type === 'http' ? ['header', 'Authorization'] : [key.in, key.name]
  return html`<li>${place} <code>${name}</code>: ${key.description}</li>`
}

function operationPart(operation: Operation, prefix: string): Html {
  const { id, method, path, summary, description, access, status = 200, reply, refusals, body } = operation
  return html`<article id="${id}">
    <h3>${summary}</h3>
    <div class="call">
      <span class="method">${method}</span> <code>${prefix}${path}</code>
      <span class="mark">${id}${access === 'public' ? ', public' : ''}</span>
    </div>
    ${description ? html`<p>${description}</p>` : html``} ${fieldTable('Path', operation.params)}
    ${fieldTable('Query', operation.query)} ${body ? bodyPart(body) : html``}
    <h4>Answer ${status}</h4>
    ${answerPart(reply)}
    <h4>Refusals</h4>
    <table>
      ${joinHtml(
        Object.entries(refusals).map(
          ([code, cause]) =>
            html`<tr>
              <td><code>${code}</code></td>
              <td>${cause}</td>
            </tr>`,
        ),
      )}
    </table>
  </article>`
}

function bodyPart(body: NonNullable<Operation['body']>): Html {
  if (body.kind === 'binary')
    return html`<h4>Body, ${body.mediaType}</h4>
      <p>The content.</p>`
  return html`<h4>Body, ${mediaTypes[body.kind]}</h4>
    ${schemaPart(body.schema)}`
}

function answerPart(reply: Operation['reply']): Html {
  if (reply === 'empty') return html`<p>No body.</p>`
  if ('content' in reply) return html`<p>The content (<code>${reply.content}</code> or its own type).</p>`
  return schemaPart(reply)
}

/** As much of JSON Schema as pages show. */
interface Shown {
  type?: string | string[]
  title?: string
  description?: string
  default?: unknown
  const?: unknown
  enum?: unknown[]
  items?: Shown
  anyOf?: Shown[]
  properties?: Record<string, Shown>
  required?: string[]
  additionalProperties?: boolean | Shown
}

function schemaPart(schema: TSchema): Html {
  const shown: Shown = schema
  return shown.properties ? fieldTable('', schema) : html`<pre>${typeText(shown)}</pre>`
}

function fieldTable(heading: string, schema: TSchema | undefined): Html {
  const shown: Shown = schema ?? {}
  const fields = Object.entries(shown.properties ?? {})
  if (fields.length === 0) return html``
  const rows = fields.map(([name, field]) => {
    const mark = shown.required?.includes(name) ? '' : 'optional'
    const fallback = field.default === undefined ? '' : ` Default: ${JSON.stringify(field.default)}.`
    return html`<tr>
      <td><code>${name}</code> <span class="mark">${mark}</span></td>
      <td><code>${typeText(field)}</code></td>
      <td>${field.description ?? ''}${fallback}</td>
    </tr>`
  })
  return html`${heading ? html`<h4>${heading}</h4>` : html``}
    <table>
      ${joinHtml(rows)}
    </table>`
}

function typeText(schema: Shown): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map(String).join(' | ')
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeText))].join(' | ')
  if (schema.items) return `${typeText(schema.items)}[]`
  if (schema.properties)
    return `{ ${Object.entries(schema.properties)
      .map(([name, field]) => `${name}: ${typeText(field)}`)
      .join(', ')} }`
  if (typeof schema.additionalProperties === 'object') return `{ [name]: ${typeText(schema.additionalProperties)} }`
  return [schema.type ?? 'any'].flat().join(' | ')
}

/** Apart from the template, so that no formatting touches the bytes that the policy names. */
const styleElement: Html = { html: `<style>${style}</style>` }

const page = (title: string, content: Html) =>
  html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        ${styleElement}
      </head>
      <body>
        ${content}
      </body>
    </html> `.html
