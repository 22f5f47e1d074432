import t from 'tap'
import { compileGoExpression } from '../../../plugins/tuning/go-expression.ts'

t.test('an expression matches what it matches in Go', async t => {
  const cases: readonly (readonly [expression: string, matches: readonly string[], others: readonly string[]])[] = [
    ['^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$', ['net.ipv4.conf.IFNAME.arp_filter'], ['net.ipv4.conf.all.arp_filter']],
    ['somaxconn', ['net.core.somaxconn'], ['net.core.rmem_max']],
    ['\\Anet\\.core\\.[[:alpha:]_]+\\z', ['net.core.rmem_max'], ['net.core.a1', 'xnet.core.a']],
    ['^[[:^alpha:]', [], []],
    ['(?i)NET\\.CORE', ['net.core.x', 'Net.Core.x'], ['net.ipv4.x']],
    ['^(?:net|x)\\.[^].]+$', ['net.a', 'x.b'], ['net.a.b', 'net.]']],
    ['^net.[\\w-]+\\.x\\_y$', ['net.a-b.x_y'], ['net.a b.x_y']],
    ['^a\\sb$', ['a b', 'a\tb'], ['a\u00a0b', 'a\vb']],
    ['^[\\s]$', [' '], ['\ufeff', 's']],
  ]
  for (const [expression, matches, others] of cases) {
    if (matches.length === 0) {
      t.throws(() => compileGoExpression(expression), SyntaxError, expression)
      continue
    }
    const compiled = compileGoExpression(expression)
    for (const text of matches) t.ok(compiled.test(text), `${expression} matches ${text}`)
    for (const text of others) t.notOk(compiled.test(text), `${expression} does not match ${text}`)
  }
})

t.test('what JavaScript reads in another way than Go is refused', async t => {
  const expressions = [
    '(?=a)',
    '(?!a)',
    '(?<n>a)',
    '(?P<n>a)',
    '(?s)a',
    '(a)\\1',
    '\\Qa\\E',
    '\\x41',
    '\\pL',
    '\\C',
    'a\\',
  ]
  for (const expression of [...expressions, '(', '[a', '[\\b]', '*', '[[:nothing:]]'])
    t.throws(() => compileGoExpression(expression), SyntaxError, expression)
})
