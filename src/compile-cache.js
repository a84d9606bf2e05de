/**
 * Halves the time to start. Kept inside the installation: a folder that others can write to could slip code in. Threads and child
 * processes hear of it by their environment; in JavaScript, as the cache is not there for whoever sets it up.
 */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('../node_modules/.cache/entrepot', import.meta.url))
enableCompileCache(process.env['NODE_COMPILE_CACHE'])
