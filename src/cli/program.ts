/** The commands of `entrepot`, put together. */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addApplyCommand } from './apply/command.ts'
import { addAuditCommands } from './audit.ts'
import { addBackupCommand } from './backup.ts'
import { configHelp } from './config-help.ts'
import { addApprovalCommands, addDeliveryCommands } from './deliveries.ts'
import { explain } from './errors.ts'
import { addGroupCommands } from './group.ts'
import { addJobCommands, addKeyCommands, addVerifyCommand } from './maintenance.ts'
import { addMailCommands } from './mail.ts'
import { addMigrateCommand } from './migrate.ts'
import { addScreeningCommands } from './screening.ts'
import { addServeCommands } from './serve.ts'
import { addGrantCommands, addSpaceCommands } from './space.ts'
import { print } from './terminal.ts'
import { addTokenCommands } from './token.ts'
import { addUserCommands } from './user.ts'

const EXIT_REFUSED = 1
const EXIT_USAGE = 2

/** Runs the command line; answers the exit code: 0 done, 1 refused or failed, 2 not understood. */
export async function runProgram(args: readonly string[]): Promise<number> {
  try {
    await buildProgram().parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
    process.stderr.write(`entrepot: ${explain(error) ?? firstLine(error)}\n`)
    return EXIT_REFUSED
  }
}

/** What is not a refusal of ours: a port that is taken, a file that cannot be read. */
const firstLine = (error: unknown) => (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]!

const examples = `
Examples:
  entrepot serve                            run on http://127.0.0.1:8080 with everything in ./data
  entrepot apply partners.yaml              make users, spaces and grants as the file says
  entrepot user create clerk --home inbox   add a user, print his password
  entrepot backup /mnt/backup/today         copy everything while the server runs
  entrepot migrate --to-postgres URL        copy everything to its next home
  entrepot verify --content                 read every content back and compare its hash

Configuration is by environment variables: entrepot help config`

function buildProgram(): Command {
  const program = new Command('entrepot')
    .description('Self-hosted server for secure file exchange.')
    .version(version())
    .helpCommand(false)
    .exitOverride()
    .addHelpText('after', examples)
  program.commandsGroup('Run:')
  addServeCommands(program)
  program.commandsGroup('Set up:')
  addApplyCommand(program.command('apply <file>'))
  addUserCommands(inTenant(program, 'user', 'accounts'))
  addGroupCommands(inTenant(program, 'group', 'groups and their members'))
  addSpaceCommands(inTenant(program, 'space', 'spaces and folders'))
  addGrantCommands(inTenant(program, 'grant', 'who may do what where'))
  addTokenCommands(inTenant(program, 'token', 'access tokens'))
  program.commandsGroup('Look after:')
  addDeliveryCommands(inTenant(program, 'delivery', 'what people send each other'))
  addApprovalCommands(inTenant(program, 'approvals', 'deliveries that wait for consent'))
  addAuditCommands(inTenant(program, 'audit', 'list events, verify and seal the audit log'))
  addMailCommands(inTenant(program, 'mail', 'mails that were sent, wait or failed; test mails'))
  addScreeningCommands(inTenant(program, 'screening', 'contents that are held back'))
  addVerifyCommand(program.command('verify'))
  addBackupCommand(program.command('backup <dir>'))
  addMigrateCommand(program.command('migrate'))
  addKeyCommands(program.command('keys').description('master keys'))
  addJobCommands(program.command('jobs').description('background work'))
  program.commandsGroup('Help:')
  addHelpCommand(program)
  return program
}

/** A group of commands that each know `--tenant`. */
function inTenant(program: Command, name: string, description: string): Command {
  const group = program.command(name).description(description)
  const command = group.command.bind(group)
  // Commander declares several forms; the one with a name and no executable is the only one used.
  group.command = ((text: string) =>
    command(text).option('--tenant <name>', 'tenant (default: the provider)')) as Command['command']
  return group
}

function addHelpCommand(program: Command): void {
  program
    .command('help [topic]')
    .description('this text; "help config" lists the environment variables')
    .action((topic: string | undefined) => {
      if (topic === 'config') return print(configHelp())
      const command = topic === undefined ? program : program.commands.find(known => known.name() === topic)
      if (!command) throw new CommanderError(EXIT_USAGE, 'entrepot.topic', `no topic ${topic}`)
      command.outputHelp()
    })
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version // our own file
}
