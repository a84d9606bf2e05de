#!/usr/bin/env node
/**
 * What `entrepot` starts. JavaScript on purpose: for a first file in TypeScript Node loads its compiler, which takes 17 MiB and a
 * tenth of a second. Everything else comes compiled from the cache.
 */
import '../src/compile-cache.js'

await import('../src/main.ts')
