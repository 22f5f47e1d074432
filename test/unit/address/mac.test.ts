import fc from 'fast-check'
import t from 'tap'
import { formatMac, isUsableMac, macFromHex, parseMac } from '../../../lib/address/mac.ts'

t.test('parseMac() reads what formatMac() writes, in upper case and with dashes as well', async t => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), bytes => {
      const text = formatMac(bytes)
      return [text, text.toUpperCase(), text.replaceAll(':', '-')].every(
        form => formatMac(parseMac(form) ?? new Uint8Array()) === text,
      )
    }),
  )
  t.equal(formatMac(parseMac('0A-58-0a-01-00-05') ?? new Uint8Array()), '0a:58:0a:01:00:05')
})

t.test('parseMac() refuses what is not six bytes', async t => {
  const bad = ['', '0a:58:0a:01:00', '0a:58:0a:01:00:05:06', '0a580a010005', '0a:58:0a:01:00:5', '0g:58:0a:01:00:05']
  for (const text of [...bad, ' 0a:58:0a:01:00:05', '0a:58:0a:01:00:05\n']) t.equal(parseMac(text), undefined, text)
})

t.test('isUsableMac() refuses group addresses and zero', async t => {
  const usable = (text: string) => isUsableMac(parseMac(text) ?? new Uint8Array(6))
  t.equal(usable('0a:58:0a:01:00:05'), true)
  t.equal(usable('01:00:5e:00:00:01'), false)
  t.equal(usable('ff:ff:ff:ff:ff:ff'), false)
  t.equal(usable('00:00:00:00:00:00'), false)
})

t.test('macFromHex() gives the same address for the same digits, one that a link may have', async t => {
  t.equal(formatMac(macFromHex('ff0102030405ffff')), 'fe:01:02:03:04:05')
  fc.assert(
    fc.property(fc.stringMatching(/^[0-9a-f]{12}$/), hex => {
      const mac = macFromHex(hex)
      return isUsableMac(mac) && ((mac[0] ?? 0) & 2) === 2
    }),
  )
})
