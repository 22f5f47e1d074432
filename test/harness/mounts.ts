/** Programs that see another file system than the test does: for runs that may not write where they please. */

import type { Host } from './host.ts'

/**
 * The command line before a program that is to run on a read-only root. What it may write: an empty /var/lib, /run, and
 * the host's own directory. Namespaces under /run/netns stay where they are.
 */
export function readOnlyRoot(host: Host, alsoRun = ''): string[] {
  const script = `set -e
/usr/bin/mount --rbind /run /run
/usr/bin/mount --bind ${host.directory} ${host.directory}
/usr/bin/mount -t tmpfs none /var/lib
/usr/bin/mount -o remount,bind,ro /
${alsoRun}
exec "$0" "$@"`
  // With a minimal environment of its own, and the one that was given for the program.
  return ['/usr/bin/unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', script]
}
