import fc from 'fast-check'
import t from 'tap'
import { CniError } from '../../../lib/cni/errors.ts'
import { FAIL_STEP_VARIABLE, runTransaction } from '../../../lib/cni/transaction.ts'

t.test('a transaction that comes to its end undoes nothing and returns what its body returns', async t => {
  const log: string[] = []
  const result = runTransaction({}, transaction => {
    const first = transaction.step(
      'one',
      () => 1,
      () => log.push('undo one'),
    )
    return first + transaction.step('two', () => 2)
  })
  t.equal(result, 3)
  t.same(log, [])
})

t.test('a step that throws is not undone itself; those before it are, last first', async t => {
  const log: string[] = []
  const step = (name: string) => [name, () => log.push(`do ${name}`), () => log.push(`undo ${name}`)] as const
  t.throws(
    () =>
      runTransaction({}, transaction => {
        transaction.step(...step('one'))
        transaction.step(...step('two'))
        transaction.step(
          'three',
          () => {
            throw new CniError(104, 'in the way', 'remove it')
          },
          () => log.push('undo three'),
        )
      }),
    { name: 'CniError', code: 104, message: 'in the way', details: 'remove it\nfailed in step 3 "three"' },
  )
  t.same(log, ['do one', 'do two', 'undo two', 'undo one'])
})

t.test('undo is given what the step returned', async t => {
  const given: unknown[] = []
  t.throws(() =>
    runTransaction({}, transaction => {
      transaction.step(
        'a',
        () => ({ index: 7 }),
        made => given.push(made),
      )
      transaction.step(
        'b',
        () => undefined,
        made => given.push(made),
      )
      throw new Error('stop')
    }),
  )
  t.strictSame(given, [undefined, { index: 7 }])
})

t.test('an exception between two steps unwinds, and says after which', async t => {
  t.throws(
    () =>
      runTransaction({}, transaction => {
        transaction.step('add link', () => 1)
        throw new TypeError('x is undefined')
      }),
    { code: 199, details: /\nfailed after step 1 "add link"$/ },
  )
  t.throws(
    () =>
      runTransaction({}, () => {
        throw new CniError(7, 'bad')
      }),
    { code: 7, details: 'failed before the first step' },
  )
})

t.test('an undo that fails is told, and does not keep the others from being done', async t => {
  const log: string[] = []
  t.throws(
    () =>
      runTransaction({}, transaction => {
        transaction.step(
          'one',
          () => 1,
          () => log.push('undo one'),
        )
        transaction.step(
          'two',
          () => 2,
          () => {
            throw new Error('device is busy')
          },
        )
        transaction.step(
          'three',
          () => 3,
          () => log.push('undo three'),
        )
        throw new CniError(11, 'later')
      }),
    { code: 11, details: 'failed after step 3 "three"\ncannot undo "two": device is busy' },
  )
  t.same(log, ['undo three', 'undo one'])
})

t.test('the error keeps its cause', async t => {
  const cause = new Error('boom')
  try {
    runTransaction({}, () => {
      throw cause
    })
    t.fail('must throw')
  } catch (error) {
    t.equal((error as Error).cause, cause)
  }
})

t.test(`${FAIL_STEP_VARIABLE}=n fails the n-th step after it was done, and undoes it too`, async t => {
  const names = ['one', 'two', 'three']
  for (const [index, name] of names.entries()) {
    const state = new Set<string>()
    t.throws(
      () =>
        runTransaction({ [FAIL_STEP_VARIABLE]: String(index + 1) }, transaction => {
          for (const each of names)
            transaction.step(
              each,
              () => state.add(each),
              () => state.delete(each),
            )
        }),
      { details: `failed in step ${index + 1} "${name}"`, message: new RegExp(`${FAIL_STEP_VARIABLE}=${index + 1} `) },
    )
    t.equal(state.size, 0)
  }
  for (const value of ['4', '0', '', 'x', '-1']) {
    t.doesNotThrow(() =>
      runTransaction({ [FAIL_STEP_VARIABLE]: value }, transaction => {
        for (const each of names) transaction.step(each, () => each)
      }),
    )
  }
})

t.test('whatever fails where, the state afterwards is the one before', async t => {
  // Steps add to a list and undo takes from its end, so that a wrong order shows.
  fc.assert(
    fc.property(fc.array(fc.integer(), { maxLength: 20 }), fc.nat(20), fc.boolean(), (values, failAt, inStep) => {
      const state: number[] = [-1]
      const popExactly = (value: number) => {
        if (state.pop() !== value) throw new Error('wrong order')
      }
      let details = ''
      try {
        runTransaction({}, transaction => {
          for (const [index, value] of values.entries()) {
            if (index === failAt && !inStep) throw new Error('between')
            transaction.step(
              `step ${index}`,
              () => {
                if (index === failAt) throw new Error('inside')
                state.push(value)
                return value
              },
              popExactly,
            )
          }
          throw new Error('end')
        })
      } catch (error) {
        details = (error as CniError).details ?? ''
      }
      return state.length === 1 && details !== '' && !details.includes('cannot undo')
    }),
  )
  t.pass()
})
