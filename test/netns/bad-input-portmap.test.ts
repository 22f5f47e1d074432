/** Configurations and mappings of the portmap plugin that are wrong, each with the message that a user needs. */

import t from 'tap'
import { withHost } from '../harness/index.ts'
import { assertRefusals, type Refusal } from '../harness/refusals.ts'

const plugin = 'portmap'

const refused = (config: object, says: RegExp, code = 7): Refusal => ({
  what: JSON.stringify(config),
  plugin,
  config,
  code,
  says,
})

/** A container with addresses of these families. */
const attached = (path: string, ...addresses: readonly string[]) => ({
  interfaces: [{ name: 'br0' }, { name: 'eth0', sandbox: path }],
  ips: addresses.map(address => ({ address, interface: 1 })),
})

t.test('keys of the wrong type or out of range', t =>
  withHost(t, host => {
    const wrong = (key: string, value: unknown, rest: string) =>
      refused({ [key]: value }, new RegExp(`^"${key}" is .*, but must ${rest}`))
    assertRefusals(t, host, () => [
      wrong('backend', 'ipvs', 'be one of'),
      wrong('snat', 'yes', 'be true or false'),
      wrong('masqAll', 1, 'be true or false'),
      wrong('preserveClientIP', 1, 'be true or false'),
      wrong('markMasqBit', 32, 'be an integer from 0 to 31'),
      wrong('markMasqBit', -1, 'be an integer from 0 to 31'),
      wrong('conditionsV4', '-d 1.2.3.4', 'be a list'),
      refused(
        { markMasqBit: 3, externalSetMarkChain: 'KUBE-MARK-MASQ' },
        /^markMasqBit \(3\) and externalSetMarkChain/,
      ),
      refused(
        { backend: 'nftables', externalSetMarkChain: 'X' },
        /^externalSetMarkChain is "X", which the back end nftables/,
      ),
      refused(
        { backend: 'nftables', conditionsV6: ['-d', '::'] },
        /^conditionsV6 is \["-d","::"\], which the back end nft/,
      ),
      refused({ prevResult: undefined }, /^Required prevResult missing/),
    ])
  }),
)

t.test('mappings that are wrong, or clash', t =>
  withHost(t, host => {
    const good = { hostPort: 8080, containerPort: 80 }
    assertRefusals(t, host, ({ container }) => {
      const prevResult = attached(container.path, '10.1.0.5/24')
      const mapped = (says: RegExp, ...portMappings: readonly object[]) =>
        refused({ prevResult, runtimeConfig: { portMappings } }, says)
      const one = (keys: object, says: RegExp) => mapped(says, { ...good, ...keys })
      return [
        one(
          { hostPort: 0 },
          /"runtimeConfig\.portMappings\[0\]\.hostPort" is 0, but must be an integer from 1 to 65535/,
        ),
        one({ hostPort: 65536 }, /hostPort" is 65536, but must be an integer from 1 to 65535/),
        one({ hostPort: '80' }, /hostPort" is "80", but must be an integer/),
        one({ hostPort: 80.5 }, /hostPort" is 80\.5, but must be an integer/),
        one({ hostPort: -1 }, /hostPort" is -1/),
        one({ containerPort: 0 }, /containerPort" is 0, but must be an integer from 1 to 65535/),
        one({ containerPort: 65536 }, /containerPort" is 65536/),
        one({ protocol: 'icmp' }, /protocol" is "icmp"/),
        one({ protocol: 'tcp ' }, /protocol" is "tcp "/),
        one(
          { hostIP: '10.1.1' },
          /^runtimeConfig\.portMappings\[0\]\.hostIP is "10\.1\.1", which is not an IP address/,
        ),
        one({ hostIP: '10.1.1.1/24' }, /hostIP is "10\.1\.1\.1\/24", which is not/),
        one({ hostIP: '::1' }, /hostIP is "::1", from which Linux forwards nothing/),
        one({ hostIP: '2001:db8::1' }, /hostIP is 2001:db8::1, but the container has no IPv6 address/),
        one({ hostIP: '::' }, /hostIP is ::, but the container has no IPv6 address/),
        mapped(/^runtimeConfig\.portMappings\[0\] and runtimeConfig\.portMappings\[1\] both want TCP port 8080/, good, {
          ...good,
          containerPort: 81,
        }),
        mapped(/\[0\] and runtimeConfig\.portMappings\[1\] both want TCP port 8080 of 10\.0\.0\.1/, good, {
          ...good,
          hostIP: '10.0.0.1',
        }),
        mapped(/\[1\] and runtimeConfig\.portMappings\[2\] both want/, { ...good, protocol: 'udp' }, good, {
          ...good,
          protocol: 'TCP',
        }),
        mapped(/both want/, { ...good, hostIP: '0.0.0.0' }, { ...good, hostIP: '10.0.0.1' }),
        {
          ...refused(
            { prevResult: attached(container.path), runtimeConfig: { portMappings: [good] } },
            /^prevResult has no address of interface "eth0"/,
          ),
        },
        refused(
          {
            prevResult: { interfaces: [{ name: 'eth0' }], ips: [{ address: '10.1.0.5/24', interface: 0 }] },
            runtimeConfig: { portMappings: [good] },
          },
          /^prevResult has no address of interface "eth0"/,
        ),
      ]
    })
  }),
)
