#!/usr/bin/env node
/** The command line: `entrepot --help` lists what it can do. */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'

// Halves the time to start. Kept inside the installation: a folder that others can write to could slip code in.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/entrepot', import.meta.url)))
// The space for young objects stays as small as it begins: the bytes of S3 come in many small pieces with much around them, for
// which it would grow to 48 MiB and stay so. It grows while modules are loaded, so this cannot wait for config.ts.
if (process.env['ENTREPOT_BLOBS_URL']?.startsWith('s3:')) setFlagsFromString('--semi-space-growth-factor=1')
const { runProgram } = await import('#cli/program.ts')
process.exitCode = await runProgram(process.argv.slice(2))
