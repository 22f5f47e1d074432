/**
 * Addresses of namespaces that are gone. The plugin looks for references in /proc; each script runs in process and mount
 * namespaces of its own, so that what it makes is all there is to find, and as their first process it may look at all.
 */

import { join } from 'node:path'
import type { Test } from 'tap'
import t from 'tap'
import type { Host } from '../harness/index.ts'
import { pluginDirectory, programPath, withHost } from '../harness/index.ts'

/** Shell functions of the scripts. The pool has two addresses, 10.1.0.2 and 10.1.0.3. */
const prelude = `
  set -u
  verb() { # verb id namespace [wrapper...]
    command=$1 id=$2 netns=$3; shift 3
    env -i PATH="$PATH" CNI_COMMAND=$command CNI_CONTAINERID=$id CNI_NETNS=$netns CNI_IFNAME=eth0 CNI_PATH="$PLUGINS" \\
      "$@" "$PLUGINS/host-local" <"$DIRECTORY/config.json" | tr -d ' \\n' |
      sed -E 's/.*"address":"([^"]*)".*/\\1/; s/.*"code":([0-9]+).*/code \\1/'
    echo
  }
  # A network namespace without a name, held open by a process whose id is printed.
  namespace() { unshare --net sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; }
  wait_for_namespace() { # pid: until it has left the namespace of this shell
    until [ "$(readlink /proc/$1/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
  }
  end() { kill -9 $1; wait $1 2>/dev/null; }
`

function runScript(host: Host, script: string): string[] {
  const config = {
    cniVersion: '1.1.0',
    name: 'net',
    type: 'bridge',
    ipam: {
      type: 'host-local',
      dataDir: host.dataDirectory,
      ranges: [[{ subnet: '10.1.0.0/29', rangeEnd: '10.1.0.3' }]],
    },
  }
  const environment = {
    PATH: programPath,
    PLUGINS: pluginDirectory,
    DIRECTORY: host.directory,
    CONFIG: JSON.stringify(config),
  }
  const argv = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', '-c']
  const { status, stdout, stderr } = host.execute(
    [...argv, `${prelude}\nprintf %s "$CONFIG" >"$DIRECTORY/config.json"\n${script}`],
    { environment },
  )
  if (status !== 0) throw new Error(`the script ended with ${status}: ${stdout}${stderr}`)
  return stdout.trim().split('\n')
}

async function withScript(t: Test, script: string, expected: readonly string[]): Promise<void> {
  await withHost(t, host => {
    t.strictSame(runScript(host, script), expected)
  })
}

const twoHeld = `
  a=$(namespace); b=$(namespace); c=$(namespace)
  for pid in $a $b $c; do wait_for_namespace $pid; done
  verb ADD a /proc/$a/ns/net
  verb ADD b /proc/$b/ns/net
`
const filled = ['10.1.0.2/29', '10.1.0.3/29']

t.test('a dry pool takes back the address of a namespace that is gone, and of no other', async t => {
  await withScript(
    t,
    `${twoHeld}
    verb ADD c /proc/$c/ns/net
    end $a
    verb STATUS - -
    verb ADD c /proc/$c/ns/net
    verb STATUS - -
    verb ADD d ""; verb ADD d /none`,
    [...filled, 'code 102', '', '10.1.0.2/29', 'code 50', 'code 4', 'code 102'],
  )
})

t.test('a namespace lives while it is mounted, in whichever mount namespace', async t => {
  await withScript(
    t,
    `${twoHeld}
    touch "$DIRECTORY/mounted"
    unshare --mount sh -c 'mount --bind /proc/'$a'/ns/net "$DIRECTORY/mounted"; echo mounted; exec sleep 1000' >"$DIRECTORY/said" &
    mounter=$!
    until [ -s "$DIRECTORY/said" ]; do :; done
    end $a
    verb ADD c /proc/$c/ns/net
    end $mounter
    verb ADD c /proc/$c/ns/net`,
    [...filled, 'code 102', '10.1.0.2/29'],
  )
})

t.test('a namespace lives while a descriptor is open on it', async t => {
  await withScript(
    t,
    `${twoHeld}
    exec 9</proc/$a/ns/net
    end $a
    verb ADD c /proc/$c/ns/net 9<&-
    exec 9<&-
    verb ADD c /proc/$c/ns/net`,
    [...filled, 'code 102', '10.1.0.2/29'],
  )
})

t.test('who may not look into other processes takes nothing back', async t => {
  await withScript(
    t,
    `${twoHeld}
    end $a
    verb ADD c /proc/$c/ns/net setpriv --bounding-set=-sys_ptrace
    verb ADD c /proc/$c/ns/net`,
    [...filled, 'code 102', '10.1.0.2/29'],
  )
})

t.test('GC without a list takes back the addresses of namespaces that are gone', async t => {
  await withHost(t, host => {
    const said = runScript(host, `${twoHeld}\nend $a\nverb GC - -\nls -A ${join(host.dataDirectory, 'net')} | grep ^10`)
    t.strictSame(said, [...filled, '', '10.1.0.3'])
  })
})
