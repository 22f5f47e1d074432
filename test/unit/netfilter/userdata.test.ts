import t from 'tap'
import {
  COMMENT_MAX_BYTES,
  commentEntry,
  commentOf,
  commentUserData,
  hostOrderEntry,
  userData,
} from '../../../lib/netlink/netfilter/userdata.ts'

t.test('a comment is written as libnftnl writes it', async t => {
  // nft add element ip x s { 1.2.3.4 comment "ab" }
  t.same([...commentUserData('element', 'ab')], [0, 3, 0x61, 0x62, 0])
  // nft add set ip x s { type ipv4_addr; comment "ab"; }
  t.same([...commentUserData('set', 'ab')], [7, 3, 0x61, 0x62, 0])
})

t.test('a comment that was written is read again', async t => {
  for (const object of ['table', 'chain', 'rule', 'element', 'set'] as const)
    for (const comment of ['', 'one', 'ünïcode', 'x'.repeat(COMMENT_MAX_BYTES)])
      t.equal(commentOf(object, commentUserData(object, comment)), comment)
})

t.test('a comment is found behind other entries', async t => {
  const bytes = userData([hostOrderEntry('key'), hostOrderEntry('data'), commentEntry('set', 'behind')])
  t.equal(commentOf('set', bytes), 'behind')
})

t.test('a comment that nft could not load is refused, counted in bytes', async t => {
  t.throws(() => commentUserData('element', 'x'.repeat(COMMENT_MAX_BYTES + 1)), RangeError)
  t.throws(() => commentUserData('element', 'ü'.repeat(COMMENT_MAX_BYTES / 2 + 1)), RangeError)
})

t.test('user data of another form has no comment', async t => {
  for (const bytes of [[], [0], [0, 0], [0, 9, 0x61], [0, 255], [3, 2, 0x61, 0], [1, 1, 0, 0]])
    t.equal(commentOf('element', Uint8Array.from(bytes)), undefined, JSON.stringify(bytes))
  t.equal(commentOf('element', undefined), undefined)
})
