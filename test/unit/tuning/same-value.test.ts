import t from 'tap'
import { sameValue } from '../../../plugins/tuning/sysctls.ts'

t.test('values are the same when the kernel shows one for the other', async t => {
  const same: readonly (readonly [present: string, wanted: string])[] = [
    ['1', '1'],
    ['1024\t65535', '1024 65535'],
    ['31', '0x1f'],
    ['31', '037'],
    ['-1', ' -1 '],
    ['0', '0'],
    ['', ''],
    ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
    ['cubic reno', 'cubic  reno'],
    ['8000-8010,9001-9003', '9003,9001,8000-8005,8006-8010,9002'],
    ['1,3', '3,1,1'],
  ]
  for (const [present, wanted] of same) t.ok(sameValue(present, wanted), `${present} = ${wanted}`)
  const different: readonly (readonly [present: string, wanted: string])[] = [
    ['1', '2'],
    ['1', ''],
    ['1024\t65535', '1024'],
    ['cubic', 'reno'],
    ['1-3', '1,3'],
  ]
  for (const [present, wanted] of different) t.notOk(sameValue(present, wanted), `${present} ≠ ${wanted}`)
})
