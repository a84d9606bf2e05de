/**
 * A throw-away virus scanner for tests: ClamAV's daemon with a few signatures of its own, and c-icap in front of it. It
 * needs Debian's packages clamav-daemon, c-icap and libc-icap-mod-virus-scan, no privileges and no network.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { testFile } from '#test/contents.ts'
import { freePorts, HOST, installPackages, missingAmong, ready, startTogether } from './daemons.ts'

const PACKAGES = ['clamav-daemon', 'c-icap', 'libc-icap-mod-virus-scan']
const PROGRAMS = ['clamd', 'c-icap']
const MODULES = '/usr/lib/*/c_icap'
/** Small, so that a test passes it soon. */
const STREAM_LIMIT = '10M'

export interface Scanner {
  clamd: string
  clamdSocket: string
  icap: string
  /** Ends the daemons and removes all they kept. */
  remove(): Promise<void>
}

/** The programs that are not installed. */
export const missingPrograms = () => missingAmong(PROGRAMS, '-V')

/** Installs the packages where that can be done; whether it could shows in `missingPrograms`. */
export const installScanner = () => installPackages(PACKAGES)

/** Starts both daemons on free ports. */
export const startScanner = (): Promise<Scanner> => startTogether('clam-', startDaemons)

async function startDaemons(folder: string, daemons: ChildProcess[]): Promise<Omit<Scanner, 'remove'>> {
  for (const name of ['db', 'tmp']) mkdirSync(join(folder, name))
  const signature = Buffer.from(testFile).toString('hex')
  writeFileSync(join(folder, 'db', 'test.ndb'), `Test.EICAR:0:0:${signature}\n`)
  const [clamdPort = 0, icapPort = 0] = await freePorts(2)
  writeFileSync(join(folder, 'clamd.conf'), clamdConfiguration(folder, clamdPort))
  writeFileSync(join(folder, 'c-icap.conf'), icapConfiguration(folder, icapPort))
  const launch = async (program: string, args: string[], port: number) => {
    const log = join(folder, `${program}.out`)
    const daemon = spawn(program, args, { stdio: ['ignore', openSync(log, 'a'), openSync(log, 'a')] })
    daemons.push(daemon)
    await ready({ name: program, daemon, log, ask: () => accepts(port) })
  }
  await launch('clamd', [`--config-file=${join(folder, 'clamd.conf')}`], clamdPort)
  await launch('c-icap', ['-N', '-f', join(folder, 'c-icap.conf')], icapPort)
  return {
    clamd: `clamd://${HOST}:${clamdPort}`,
    clamdSocket: `clamd://${join(folder, 'clamd.sock')}`,
    icap: `icap://${HOST}:${icapPort}/avscan`,
  }
}

const clamdConfiguration = (folder: string, port: number) => `DatabaseDirectory ${folder}/db
TemporaryDirectory ${folder}/tmp
LocalSocket ${folder}/clamd.sock
TCPAddr ${HOST}
TCPSocket ${port}
LogFile ${folder}/clamd.log
Foreground yes
OfficialDatabaseOnly no
SelfCheck 0
StreamMaxLength ${STREAM_LIMIT}
AlertExceedsMax yes
`

const icapConfiguration = (folder: string, port: number) => `PidFile ${folder}/c-icap.pid
CommandsSocket ${folder}/c-icap.ctl
Port ${HOST}:${port}
User ${userInfo().username}
ServerName localhost
StartServers 1
MaxServers 1
ThreadsPerChild 8
MinSpareThreads 4
MaxSpareThreads 8
TmpDir ${folder}/tmp
ModulesDir ${modules()}
ServicesDir ${modules()}
TemplateDir /usr/share/c_icap/templates/
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog ${folder}/c-icap-server.log
AccessLog ${folder}/c-icap-access.log
Module common clamd_mod.so
clamd_mod.ClamdSocket ${folder}/clamd.sock
Service antivirus_module virus_scan.so
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
virus_scan.DefaultEngine clamd
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE DOCUMENT
virus_scan.StartSendPercentDataAfter 100M
`

const modules = () => globSync(MODULES)[0] ?? '/usr/lib/c_icap'

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, HOST)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
