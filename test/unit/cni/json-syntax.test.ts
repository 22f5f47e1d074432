import fc from 'fast-check'
import t from 'tap'
import { describeSyntaxError } from '../../../lib/cni/json-syntax.ts'

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

t.test('the place of a mistake is told by line and column', async t => {
  for (const [text, expected] of [
    ['{"a": 1,}', 'line 1, column 9: found "}", expected a key'],
    ['{"a" 1}', 'line 1, column 6: found "1}", expected ":"'],
    ['{a: 1}', 'line 1, column 2: found "a: 1}", expected a key or "}"'],
    ["{'a': 1}", 'line 1, column 2: found "\'a\': 1}", expected a key or "}"'],
    ['[1 2]', 'line 1, column 4: found "2]", expected "," or a bracket'],
    ['[1}', 'line 1, column 3: found "}", expected "," or a bracket'],
    ['{"a": tru}', 'line 1, column 7: found "tru}", expected a value'],
    ['{"a": 01}', 'line 1, column 8: found "1}", expected "," or a bracket'],
    ['{\n"a": "x\ny"}', 'line 2, column 6: found "\\"x\\ny\\"}", expected a value'],
    ['{} {}', 'line 1, column 4: found "{}", expected the end'],
    ['', 'line 1, column 1: the text ends, expected a value'],
    ['// comment\n{}', 'line 1, column 1: found "// comment\\n{}", expected a value'],
  ] as const) {
    t.equal(describeSyntaxError(text), expected, text)
  }
})

t.test('it finds a mistake exactly where JSON.parse finds one', async t => {
  const pieces = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"a"',
    '"\\u00e9"',
    '"',
    '\\',
    '1',
    '-',
    '0',
    '.5',
    'e3',
    'true',
    'null',
    ' ',
    '\n',
    '\u00a0',
    '\u0001',
  )
  const texts = fc.oneof(
    fc.array(pieces, { maxLength: 12 }).map(parts => parts.join('')),
    fc.json(),
    fc.tuple(fc.json(), fc.nat(), pieces).map(([json, at, piece]) => {
      const place = at % (json.length + 1)
      return json.slice(0, place) + piece + json.slice(place)
    }),
    fc.tuple(fc.json(), fc.nat()).map(([json, length]) => json.slice(0, length % (json.length + 1))),
  )
  fc.assert(
    fc.property(texts, text => (describeSyntaxError(text) === undefined) === isJson(text)),
    { numRuns: 3000 },
  )
  t.pass()
})

t.test('depth costs no stack', async t => {
  t.match(describeSyntaxError('['.repeat(1_000_000)), 'column 1000001')
})
