/** Mistakes that show in the file itself: what stands there twice, and grants that name nobody or several. */
import type { Contents, Description, GrantEntry, SpaceEntry } from './description.ts'
import { BadFile, type Mistake, type Place } from './read-yaml.ts'

/** Throws BadFile with all mistakes. */
export function checkDescription(description: Description): void {
  const mistakes: Mistake[] = []
  const refuse = (at: Place, reason: string) => void mistakes.push({ line: at.line, column: at.column, reason })
  checkContents(description, refuse)
  refuseTwice(description.tenants, entry => entry.name, 'tenant', refuse)
  for (const tenant of description.tenants ?? []) checkContents(tenant, refuse)
  if (mistakes.length > 0) throw new BadFile(mistakes)
}

type Refuse = (at: Place, reason: string) => void

function checkContents({ users, groups, roles, spaces, tokens, contentRules }: Contents, refuse: Refuse): void {
  refuseTwice(users, entry => entry.username.toLowerCase(), 'user', refuse)
  refuseTwice(groups, entry => entry.name.toLowerCase(), 'group', refuse)
  refuseTwice(roles, entry => entry.name, 'role', refuse)
  refuseTwice(tokens, entry => `${entry.user.text} ${entry.name}`, 'token', refuse)
  refuseTwice(contentRules, entry => entry.name, 'content rule', refuse)
  for (const { members } of groups ?? []) {
    for (const { user, group, at } of members) {
      if (Boolean(user) === Boolean(group)) refuse(at, 'a member is either a user or a group')
    }
  }
  checkSpaces(spaces, refuse)
}

function checkSpaces(spaces: readonly SpaceEntry[] | undefined, refuse: Refuse): void {
  refuseTwice(spaces, entry => entry.name, 'space', refuse)
  for (const space of spaces ?? []) {
    refuseTwice(space.folders, entry => entry.path, 'folder', refuse)
    checkGrants(space.grants, refuse)
    for (const folder of space.folders ?? []) {
      if (folder.path.split('/').some(name => name === ''))
        refuse(folder.at, `the path "${folder.path}" has an empty name`)
      checkGrants(folder.grants, refuse)
    }
    if (space.inheritsGrants && space.grants) refuse(space.at, 'a space that inherits its grants has none of its own')
    checkSpaces(space.spaces, refuse)
  }
}

function checkGrants(grants: readonly GrantEntry[] | undefined, refuse: Refuse): void {
  for (const grant of grants ?? []) {
    const subjects = [grant.user, grant.group, grant.everyone].filter(subject => subject !== undefined)
    if (subjects.length !== 1) refuse(grant.at, 'a grant names one of user, group, everyone')
  }
  refuseTwice(grants, nameOfSubject, 'grant of', refuse)
}

/** `user clerk`, `group back-office`, `everyone`. */
export function nameOfSubject({ user, group }: Pick<GrantEntry, 'user' | 'group'>): string {
  if (user) return `user ${user.text}`
  return group ? `group ${group.text}` : 'everyone'
}

function refuseTwice<T extends { at: Place }>(
  entries: readonly T[] | undefined,
  nameOf: (entry: T) => string,
  what: string,
  refuse: Refuse,
) {
  const seen = new Set<string>()
  for (const entry of entries ?? []) {
    const name = nameOf(entry)
    if (seen.has(name)) refuse(entry.at, `${what} ${name} is there twice`)
    seen.add(name)
  }
}
