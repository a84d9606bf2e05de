#!/usr/bin/env node
/** The command line: `entrepot --help` lists what it can do. */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// Halves the time to start. Kept inside the installation: a folder that others can write to could slip code in.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/entrepot', import.meta.url)))
const { runProgram } = await import('#cli/program.ts')
process.exitCode = await runProgram(process.argv.slice(2))
