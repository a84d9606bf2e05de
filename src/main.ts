#!/usr/bin/env node
/** The command line: `entrepot --help` lists what it can do. */
import { runProgram } from '#cli/program.ts'

process.exitCode = await runProgram(process.argv.slice(2))
