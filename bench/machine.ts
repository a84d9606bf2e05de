/** The machine a result was measured on, and where on it the servers may keep their files. */
import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { availableParallelism, cpus, freemem, loadavg, release, tmpdir, totalmem, type } from 'node:os'
import { MiB } from './bench.ts'

const filesystems: Record<number, string> = {
  0x01021994: 'tmpfs (RAM disk; fsync costs almost nothing)',
  0xef53: 'ext4',
  0x58465342: 'xfs',
  0x9123683e: 'btrfs',
  0x794c7630: 'overlayfs',
}

const ramDisk = '/dev/shm'

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

function availableMemory(): number {
  if (!existsSync('/proc/meminfo')) return freemem()
  return Number(/^MemAvailable: +(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) * 1024
}

/** The RAM disk where there is one with room for `neededBytes`, else the folder for temporary files. */
export function roomyFolder(neededBytes: number): string {
  if (existsSync(ramDisk) && Math.min(freeBytes(ramDisk), availableMemory()) >= neededBytes) return ramDisk
  if (freeBytes(tmpdir()) >= neededBytes) return tmpdir()
  throw new Error(`neither ${ramDisk} nor ${tmpdir()} has ${Math.ceil(neededBytes / MiB)} MiB to spare`)
}

export function describeMachine(folder: string): [string, string][] {
  const filesystem = statfsSync(folder).type
  return [
    ['processor', `${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown'}`],
    ['memory', `${Math.round(totalmem() / MiB / 1024)} GiB`],
    ['kernel', `${type()} ${release()}`],
    ['Node', process.version],
    ['files', filesystems[filesystem] ?? `filesystem type 0x${filesystem.toString(16)}`],
    ['load before', `${loadavg()[0]?.toFixed(2)} (1 minute)`],
  ]
}
