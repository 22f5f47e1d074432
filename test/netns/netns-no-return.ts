/** A process that loses the way back from a namespace: it must not print "still here". Argument: the namespace. */

import { openNamespace } from '../../lib/netns/index.ts'
import { close } from '../../lib/sys/file.ts'

const [path = ''] = process.argv.slice(2)
const namespace = openNamespace(path)
try {
  namespace.run(() => {
    // The descriptor that leads home is among them.
    for (let fd = namespace.fd + 1; fd < namespace.fd + 32; fd++) close(fd)
  })
} finally {
  process.stdout.write('still here\n')
}
