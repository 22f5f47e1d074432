import fc from 'fast-check'
import t from 'tap'
import { parseArguments, parseArgumentsLeniently } from '../../../lib/cni/arguments.ts'
import { configWith, environmentFor, invoke } from './fake-process.ts'

const kubelet =
  'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2'

t.test('pairs are separated by ";" and keys keep their case', async t => {
  t.same(
    [...parseArguments('IP=10.1.0.5;Colour=red', ['Colour'])],
    [
      ['IP', '10.1.0.5'],
      ['Colour', 'red'],
    ],
  )
  t.equal(parseArguments('', []).size, 0)
  t.throws(() => parseArguments('colour=red', ['Colour']), { code: 4, message: 'ARGS: unknown args ["colour=red"]' })
})

t.test('a pair without exactly one "=" is refused', async t => {
  for (const pair of ['IP', 'IP=a=b', '']) {
    t.throws(
      () => parseArguments(`MAC=x;${pair}`, undefined),
      { code: 4, message: `ARGS: invalid pair ${JSON.stringify(pair)}` },
      pair,
    )
  }
})

t.test('an unknown key is refused unless IgnoreUnknown is 1 or true', async t => {
  t.throws(() => parseArguments('A=1;IP=x;B=2', []), { code: 4, message: 'ARGS: unknown args ["A=1" "B=2"]' })
  for (const value of ['0', 'false', 'FALSE']) {
    t.throws(() => parseArguments(`IgnoreUnknown=${value};A=1`, []), { code: 4 }, value)
  }
  for (const value of ['1', 'true', 'True', 'TRUE']) {
    t.equal(parseArguments(`A=1;IgnoreUnknown=${value}`, []).get('A'), '1', value)
  }
  t.throws(() => parseArguments('IgnoreUnknown=yes', []), { code: 4, message: /IgnoreUnknown is "yes"/ })
})

t.test('what the kubelet sends is known, with and without IgnoreUnknown', async t => {
  t.equal(parseArguments(kubelet, []).size, 5)
  t.equal(parseArguments(kubelet.replace('IgnoreUnknown=1;', ''), []).size, 4)
})

t.test('a plugin that reads no CNI_ARGS takes any', async t => {
  t.equal(parseArguments('whatever=1', undefined).get('whatever'), '1')
  const { status } = await invoke({
    environment: environmentFor('ADD', { CNI_ARGS: 'whatever=1' }),
    config: configWith(),
  })
  t.equal(status, 0)
})

t.test('MAC=, which the bridge reads, does not make an IPAM plugin fail', async t => {
  const { status, calls } = await invoke({
    environment: environmentFor('ADD', { CNI_ARGS: 'MAC=0a:58:0a:01:00:05' }),
    config: configWith(),
    plugin: { arguments: ['IP'] },
  })
  t.equal(status, 0)
  t.equal(calls[0]?.request.args?.get('MAC'), '0a:58:0a:01:00:05')
})

t.test('ADD and CHECK refuse unknown keys; DEL reads what can be read', async t => {
  for (const [command, expected] of [
    ['ADD', 1],
    ['CHECK', 1],
    ['DEL', 0],
  ] as const) {
    const { status, calls } = await invoke({
      environment: environmentFor(command, { CNI_ARGS: 'Size=1;broken;IP=10.1.0.5' }),
      config: configWith(),
      plugin: { arguments: ['IP'] },
    })
    t.equal(status, expected, command)
    if (command === 'DEL') t.equal(calls[0]?.request.args?.get('IP'), '10.1.0.5')
    else t.same(calls, [])
  }
})

t.test('the lenient reading never throws, and agrees with the strict one where that succeeds', async t => {
  const strict = (text: string) => {
    try {
      return [...parseArguments(text, undefined)]
    } catch {
      return undefined
    }
  }
  const texts = fc.oneof(
    fc.string(),
    fc.array(fc.constantFrom('IP', 'A', '=', ';', '10.1.0.5')).map(parts => parts.join('')),
  )
  fc.assert(
    fc.property(texts, text => {
      const lenient = JSON.stringify([...parseArgumentsLeniently(text)])
      const expected = strict(text)
      return expected === undefined || JSON.stringify(expected) === lenient
    }),
  )
  t.pass()
})
