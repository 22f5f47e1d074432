import { readdirSync, readFileSync, statSync } from 'node:fs'
import fc from 'fast-check'
import t from 'tap'
import { schema as base, validate as validateBase } from '#validators/cni'
import type { ConfigSchema, Validate } from '../../../lib/cni/config.ts'
import { normalise, parseConfig } from '../../../lib/cni/config.ts'

const schema: ConfigSchema = {
  type: 'object',
  properties: {
    mtu: { type: 'integer' },
    isGateway: { type: 'boolean' },
    ipam: {
      type: 'object',
      properties: {
        ranges: { type: 'array', items: { type: 'array', items: { properties: { rangeStart: { type: 'string' } } } } },
      },
    },
    labels: { type: 'object', additionalProperties: { properties: { size: {} } } },
    choice: { anyOf: [{ properties: { firstKey: {} } }, { properties: { secondKey: {} } }] },
  },
}

t.test('keys that the schema knows are matched without regard to case, at every level', async t => {
  t.strictSame(
    normalise(
      {
        MTU: 5,
        isgateway: true,
        IPAM: { Ranges: [[{ RANGESTART: 'a' }]] },
        labels: { KeyOfUser: { SIZE: 1 } },
        choice: { FIRSTKEY: 1, secondkey: 2 },
      },
      schema,
    ),
    {
      mtu: 5,
      isGateway: true,
      ipam: { ranges: [[{ rangeStart: 'a' }]] },
      labels: { KeyOfUser: { size: 1 } },
      choice: { firstKey: 1, secondKey: 2 },
    },
  )
})

t.test('null leaves a known key unset, and does not unset what another spelling set', async t => {
  t.strictSame(normalise({ mtu: null, ipam: { ranges: null } }, schema), { ipam: {} })
  t.strictSame(normalise({ mtu: 5, MTU: null }, schema), { mtu: 5 })
})

t.test('of several spellings of a key the last wins', async t => {
  t.strictSame(normalise(JSON.parse('{"MTU": 1, "mtu": 2, "Mtu": 3}'), schema), { mtu: 3 })
})

t.test('unknown keys are kept as they are', async t => {
  const value = { Foreign: { A: null, b: [null, { C: 1 }] }, ipam: { Name: 'x', other: null } }
  t.strictSame(normalise(value, schema), value)
})

t.test('keys of Object.prototype are keys like others, and "__proto__" sets no prototype', async t => {
  const copy = normalise(JSON.parse('{"constructor": 1, "toString": 2, "__proto__": {"mtu": 3}}'), schema)
  t.strictSame(copy, { constructor: 1, toString: 2 })
  t.equal((copy as { mtu?: unknown }).mtu, undefined)
})

t.test('normalising changes nothing that is normal, and never the value it is given', async t => {
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      const before = JSON.stringify(value)
      const once = normalise(value, schema)
      return JSON.stringify(value) === before && JSON.stringify(normalise(once, schema)) === JSON.stringify(once)
    }),
  )
  t.pass()
})

t.test('one error lists every violation: path, value, what is allowed', async t => {
  const config = { name: 5, DNS: { search: 'a' }, capabilities: { mac: 'yes', ok: true } }
  t.throws(() => parseConfig(config, base, validateBase), {
    code: 7,
    message: '"name" is 5, but must be a string',
    details:
      "name: the network's name\n" +
      'also: "dns.search" is "a", but must be a list; dns.search: a list of domain names\n' +
      'also: "capabilities.mac" is "yes", but must be true or false; capabilities.mac: true or false',
  })
})

t.test('every kind of violation has a message that says what is allowed', async t => {
  for (const [part, violation, value, message] of [
    [{ enum: ['a', 'b'] }, { keyword: 'enum' }, 'c', '"key" is "c", but must be one of "a", "b"'],
    [{ const: 1 }, { keyword: 'const' }, 2, '"key" is 2, but must be 1'],
    [
      { type: 'integer', minimum: 0, maximum: 9 },
      { keyword: 'maximum' },
      10,
      '"key" is 10, but must be an integer from 0 to 9',
    ],
    [{ type: 'integer', minimum: 1 }, { keyword: 'minimum' }, 0, '"key" is 0, but must be an integer of at least 1'],
    [{ type: 'number', maximum: 1 }, { keyword: 'maximum' }, 2, '"key" is 2, but must be a number of at most 1'],
    [{ type: ['string', 'integer'] }, { keyword: 'type' }, [], '"key" is [], but must be a string or an integer'],
    [{ pattern: '^a$' }, { keyword: 'pattern' }, 'b', '"key" is "b", but must match ^a$'],
    [{ minLength: 1 }, { keyword: 'minLength' }, '', '"key" is "", but must not be empty'],
    [
      { minItems: 2 },
      { keyword: 'minItems', message: 'must NOT have fewer than 2 items' },
      [1],
      '"key" is [1], but must NOT have fewer than 2 items',
    ],
    [{ oneOf: [] }, { keyword: 'oneOf' }, 1, '"key" is 1, but must have one of the allowed forms'],
  ] as const) {
    const whole: ConfigSchema = { properties: { key: part } }
    const validate: Validate = Object.assign(() => false, {
      errors: [{ instancePath: '/key', schemaPath: `#/properties/key/${violation.keyword}`, params: {}, ...violation }],
    })
    t.throws(() => parseConfig({ key: value }, whole, validate), { code: 7, message }, violation.keyword)
  }
})

t.test('why each alternative failed is not told, only that none fits', async t => {
  const validate: Validate = Object.assign(() => false, {
    errors: [
      { instancePath: '/a', schemaPath: '#/properties/a/anyOf/0/type', keyword: 'type', params: {} },
      { instancePath: '/a', schemaPath: '#/properties/a/anyOf/1/type', keyword: 'type', params: {} },
      { instancePath: '/a', schemaPath: '#/properties/a/anyOf', keyword: 'anyOf', params: {} },
    ],
  })
  const whole: ConfigSchema = {
    properties: { a: { description: 'a number or a word', anyOf: [{ type: 'integer' }, {}] } },
  }
  t.throws(() => parseConfig({ a: [] }, whole, validate), {
    message: '"a" is [], but must have one of the allowed forms',
    details: 'a: a number or a word',
  })
})

t.test('a long value is cut in the message', async t => {
  t.throws(() => parseConfig({ name: ['x'.repeat(10_000)] }, base, validateBase), {
    message: /^"name" is \["x{98}\.\.\., but must be a string$/,
  })
})

const validators = new URL('../../../../../dist/validators/', import.meta.url)

t.test('generated validators import nothing and say what they are', async t => {
  const files = readdirSync(validators).filter(name => name.endsWith('.js'))
  t.ok(files.includes('cni.js'))
  for (const file of files) {
    const code = readFileSync(new URL(file, validators), 'utf8')
    t.notMatch(code, /\brequire\(|^\s*import /m, file)
    t.match(code, /^\/\/ Generated by/, file)
    t.ok(statSync(new URL(file, validators)).size < 100_000, `${file} is small`)
    const { schema, validate } = (await import(new URL(file, validators).href)) as {
      schema: ConfigSchema
      validate: Validate
    }
    t.equal(schema.type, 'object', file)
    t.equal(validate([]), false, file)
  }
})

t.test('a validator accepts or refuses any JSON, and a refusal is always one CniError', async t => {
  const keys = fc.constantFrom(
    'name',
    'MTU',
    'ipam',
    'dns',
    'prevResult',
    'cni.dev/valid-attachments',
    'args',
    'x%y',
    '~a/b',
  )
  const files = readdirSync(validators).filter(name => name.endsWith('.js'))
  for (const file of files) {
    const { schema, validate } = (await import(new URL(file, validators).href)) as {
      schema: ConfigSchema
      validate: Validate
    }
    const known = fc.constantFrom(...Object.keys(schema.properties ?? {}))
    fc.assert(
      fc.property(fc.dictionary(fc.oneof(keys, known), fc.jsonValue()), config => {
        try {
          parseConfig(config, schema, validate)
          return true
        } catch (error) {
          const { code, message } = error as { code?: number; message: string }
          return code === 7 && /^"|^the configuration/.test(message)
        }
      }),
    )
    t.pass(file)
  }
})
