/** `entrepot apply FILE`, as the command line knows it. */
import type { Command } from 'commander'

export function addApplyCommand(apply: Command): void {
  apply
    .description('bring users, groups, spaces and grants to what a YAML file says')
    .option('--dry-run', 'say what would change, and change nothing')
    .action(async (path: string, options: { dryRun?: boolean }) => {
      // Loaded only now: with the reader of YAML it is a tenth of all modules, and a server needs none of it.
      const { apply } = await import('./index.ts')
      await apply(path, options)
    })
}
