#!/usr/bin/env node
/**
 * The command line: `entrepot --help` lists what it can do. It runs by itself too: in a clone where `npx entrepot` was called
 * before there was `bin/entrepot.js`, npx goes on calling this file.
 */
import { setFlagsFromString } from 'node:v8'
import './compile-cache.js'

// The space for young objects stays as small as it begins: the bytes of S3 come in many small pieces with much around them, for
// which it would grow to 48 MiB and stay so. It grows while modules are loaded, so this cannot wait for config.ts.
if (process.env['ENTREPOT_BLOBS_URL']?.startsWith('s3:')) setFlagsFromString('--semi-space-growth-factor=1')
const { runProgram } = await import('#cli/program.ts')
process.exitCode = await runProgram(process.argv.slice(2))
