/** The conflist that users of kubeadm get: as flannel hands it to bridge, with the kubelet's bandwidth behind it. */

import { dualStack } from './network.ts'

/** @param asked what the runtime asks of each plugin, for a runtime that cannot ask: keys "portmap" and "bandwidth" */
export function kubeadmConflist(asked: Readonly<Record<string, object>> = {}): object {
  const runtimeConfig = (type: string) => (asked[type] === undefined ? {} : { runtimeConfig: asked[type] })
  return {
    cniVersion: '0.3.1',
    name: 'cbr0',
    plugins: [
      {
        type: 'bridge',
        hairpinMode: true,
        isGateway: true,
        isDefaultGateway: true,
        ipMasq: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: dualStack.ipv4 }], [{ subnet: dualStack.ipv6 }]],
          routes: [{ dst: '10.70.0.0/16' }, { dst: 'fd00:70::/48' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true }, ...runtimeConfig('portmap') },
      { type: 'bandwidth', capabilities: { bandwidth: true }, ...runtimeConfig('bandwidth') },
    ],
  }
}
