/** Filters of lists: a part of JsonLogic, read into conditions of the core. */
import type { Condition } from '#core/conditions.ts'
import { Refused, refuse } from './errors.ts'
import { checkStates, encryptionTypes, integrities, shownAccess, shownFlags, workflowStates } from './package.ts'
import { permissionRights } from './permissions.ts'
import { timeOf } from './schemas.ts'

const MAX_BYTES = 8192
/** Operators within operators, the comparison among them. */
const MAX_DEPTH = 16

/** A filter that is not understood. */
export class FilterRefused extends Refused {
  constructor(why: string) {
    super(refuse(400, 'FILTER_NOT_SUPPORTED', `The filter is not supported: ${why}`))
  }
}

const operators = { '==': '==', eq: '==', contains: 'contains', icontains: 'icontains', in: 'in' } as const
type Operator = (typeof operators)[keyof typeof operators]

/** What may be asked of an attribute, and what that means for a value. */
type Attribute = Partial<Record<Operator, (value: unknown) => Condition>>

/** What an array of `any` without entries is: nothing meets it. */
const nothing: Condition = { any: [] }

const ofText = (build: (text: string) => Condition) => (value: unknown) => {
  if (typeof value === 'string') return build(value)
  throw new FilterRefused('the attribute is a text')
}

const ofNumber = (build: (value: number) => Condition) => (value: unknown) => {
  if (typeof value === 'number') return build(value)
  throw new FilterRefused('the attribute is a number')
}

const equals = (field: string, value: string | number | boolean | null): Condition => ({ field, test: 'equals', value })

const id: Attribute = { '==': ofText(value => equals('id', value.toLowerCase())) }

const text = (field: string): Attribute => ({
  '==': ofText(value => equals(field, value)),
  contains: ofText(value => ({ field, test: 'contains', value })),
  icontains: ofText(value => ({ field, test: 'contains-folded', value })),
})

const truth = (field: string): Attribute => ({
  '==': value => {
    if (typeof value === 'boolean') return equals(field, value)
    throw new FilterRefused('the attribute is true or false')
  },
})

const number = (field: string): Attribute => ({ '==': ofNumber(value => equals(field, value)) })

const time = (field: string): Attribute => ({
  '==': ofText(value => {
    const at = timeOf(value)
    if (Number.isNaN(at)) throw new FilterRefused('the attribute is an RFC 3339 date-time')
    return equals(field, at)
  }),
})

/** How the core's words look here. */
type Shown = Readonly<Record<string, string>>

const wordsThat = (field: string, shown: Shown, fits: (here: string) => boolean): Condition => ({
  any: Object.entries(shown).flatMap(([value, here]) => (fits(here) ? equals(field, value) : [])),
})

const word = (field: string, shown: Shown): Attribute => ({
  '==': ofText(value => wordsThat(field, shown, here => here === value)),
})

/** One of which a part may be asked for. */
const partOfWord = (field: string, shown: Shown): Attribute => ({
  ...word(field, shown),
  contains: ofText(part => wordsThat(field, shown, here => here.includes(part))),
})

/** Undefined for a word that the core does not have. */
const set = (field: string, coreWord: (shown: string) => string | undefined): Attribute => ({
  in: ofText(shown => {
    const value = coreWord(shown)
    return value === undefined ? nothing : { field, test: 'has', value }
  }),
})

const keyOf = (shown: Shown) => (here: string) => Object.keys(shown).find(key => shown[key] === here)

const isOpen = equals('encryption', 'none')
const isBeingEncrypted: Condition = { all: [equals('encryption', 'password'), equals('check', 'pending')] }
const encryptionStates = new Map<string, Condition>([
  ['NOT_ENCRYPTED', isOpen],
  ['ENCRYPTING', isBeingEncrypted],
  ['ENCRYPTED', { not: { any: [isOpen, isBeingEncrypted] } }],
])

const packageAttributes: Readonly<Record<string, Attribute>> = {
  id,
  name: text('name'),
  note: text('note'),
  workflowState: partOfWord('state', workflowStates),
  checkState: partOfWord('check', checkStates),
  accessType: word('access', shownAccess),
  recheckInProgress: truth('rechecked'),
  downloadPasswordProtected: truth('passwordProtected'),
  approveRequired: truth('approvalRequired'),
  encryptionStatus: { '==': ofText(value => encryptionStates.get(value) ?? nothing) },
  encryptionType: word('encryption', encryptionTypes),
  dataIntegrity: word('integrity', integrities),
  size: number('size'),
  // No limit shows as 0.
  limitAccessCount: { '==': ofNumber(value => equals('accessLimit', value === 0 ? null : value)) },
  accessCount: number('accessCount'),
  created: time('createdAt'),
  uploaded: time('uploadedAt'),
  approved: time('approvedAt'),
  disapproved: time('refusedAt'),
  tags: set('tags', tag => tag),
  flags: set('flags', keyOf(shownFlags)),
}

const reaches = { public: 'PUBLIC', internal: 'INTERNAL', private: 'PRIVATE' } as const

const groupAttributes: Readonly<Record<string, Attribute>> = {
  id,
  name: text('name'),
  email: text('email'),
  accessibility: partOfWord('reach', reaches),
  distribution: truth('isDistribution'),
  permissions: set('rights', permission =>
    Object.hasOwn(permissionRights, permission)
      ? permissionRights[permission as keyof typeof permissionRights] // checked in the line above
      : undefined,
  ),
}

const attributesOf = { package: packageAttributes, group: groupAttributes }

/**
 * Reads a filter of packages or of user groups. Throws FilterRefused for anything that is not among what may be asked:
 * other operators, attributes, arguments in another order, values of another type, and what is too long or too deep.
 */
export function parseFilter(filter: string, kind: 'package' | 'group'): Condition {
  if (Buffer.byteLength(filter) > MAX_BYTES) throw new FilterRefused(`it is longer than ${MAX_BYTES} bytes`)
  return readRule(parseJson(filter), attributesOf[kind], 1)
}

function parseJson(filter: string): unknown {
  try {
    return JSON.parse(filter)
  } catch {
    throw new FilterRefused('it is no JSON')
  }
}

type Attributes = Readonly<Record<string, Attribute>>

function readRule(rule: unknown, attributes: Attributes, depth: number): Condition {
  if (depth > MAX_DEPTH) throw new FilterRefused(`it is deeper than ${MAX_DEPTH} operators`)
  const [name, given] = onlyEntry(rule)
  const inner = (operand: unknown) => readRule(operand, attributes, depth + 1)
  if (name === '!') return { not: inner(Array.isArray(given) && given.length === 1 ? given[0] : given) }
  if (name === 'and') return { all: operands(given).map(inner) }
  if (name === 'or') return { any: operands(given).map(inner) }
  if (!Object.hasOwn(operators, name)) throw new FilterRefused('it has an unknown operator')
  return readComparison(operators[name as keyof typeof operators], given, attributes) // checked in the line above
}

/** An operator is an object with one name. */
function onlyEntry(rule: unknown): [string, unknown] {
  const entries = typeof rule === 'object' && rule !== null && !Array.isArray(rule) ? Object.entries(rule) : []
  const [entry] = entries
  if (!entry || entries.length > 1) throw new FilterRefused('an operator is an object with one name')
  return entry
}

function operands(given: unknown): readonly unknown[] {
  if (Array.isArray(given) && given.length > 0) return given
  throw new FilterRefused('and and or take a list')
}

function readComparison(operator: Operator, given: unknown, attributes: Attributes): Condition {
  if (!Array.isArray(given) || given.length !== 2) throw new FilterRefused(`${operator} takes two arguments`)
  const [variable, value]: unknown[] = operator === 'in' ? given.toReversed() : given
  const [word, name] = onlyEntry(variable)
  if (word !== 'var' || typeof name !== 'string')
    throw new FilterRefused(`${operator} has its arguments in another order`)
  const attribute = Object.hasOwn(attributes, name) ? attributes[name] : undefined
  if (!attribute) throw new FilterRefused('it names an unknown attribute')
  const read = attribute[operator]
  if (!read) throw new FilterRefused(`${name} cannot be asked for with ${operator}`)
  return read(value)
}
