/** The actions that a grant can hold, as a bit mask, and their names in configuration and events. */
export const actions = {
  list: 1 << 0,
  read: 1 << 1,
  create: 1 << 2,
  /** A new version of an existing file. */
  write: 1 << 3,
  /** Rename, metadata, move. */
  change: 1 << 4,
  delete: 1 << 5,
  'trash.read': 1 << 6,
  'trash.restore': 1 << 7,
  'trash.purge': 1 << 8,
  'share.download': 1 << 9,
  'share.upload': 1 << 10,
  lock: 1 << 11,
  'log.write': 1 << 12,
  /** Members and policy. */
  manage: 1 << 13,
} as const

export type Action = keyof typeof actions
/** A set of actions as a bit mask. */
export type ActionSet = number

export const noActions: ActionSet = 0
export const allActions: ActionSet = Object.values(actions).reduce((set, bit) => set | bit, 0)

/** Any of these lets a caller describe a file (metadata): who may replace content may say what it is. */
export const describing: readonly Action[] = ['change', 'write']

export const actionSet = (names: readonly Action[]): ActionSet => names.reduce((set, name) => set | actions[name], 0)
/** True where the set holds the action, or any of several. */
export const hasAction = (set: ActionSet, action: Action | readonly Action[]): boolean =>
  (set & (typeof action === 'string' ? actions[action] : actionSet(action))) !== 0
export const actionNames = (set: ActionSet): Action[] => allNames.filter(name => hasAction(set, name))
export const isAction = (name: string): name is Action => name in actions

const allNames = Object.keys(actions) as Action[] // the table's own keys
