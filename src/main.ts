#!/usr/bin/env node
/** The command line: `entrepot --help` lists what it can do. */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'

// Halves the time to start. Kept inside the installation: a folder that others can write to could slip code in.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/entrepot', import.meta.url)))
// The space for young objects stays as small as it begins. It would grow to 48 MiB with every large transfer, for nothing:
// what a transfer leaves behind are buffers, which lie elsewhere.
setFlagsFromString('--semi-space-growth-factor=1')
const { runProgram } = await import('#cli/program.ts')
process.exitCode = await runProgram(process.argv.slice(2))
