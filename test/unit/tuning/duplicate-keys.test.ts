import t from 'tap'
import { refuseDuplicateKeys } from '../../../plugins/tuning/duplicate-keys.ts'

t.test('a sysctl that stands twice in the document is refused', async t => {
  const documents = [
    '{"sysctl": {"net.a": "1", "net.a": "2"}}',
    '{"Sysctl":{"net.a":"1","net.b":"2","net.a":"1"}}',
    '{"name": "x", "dns": {"search": ["sysctl"]}, "sysctl": {"net.a": "{", "net\\u002ea": "\\"}"}}',
    '{"sysctl": {"net.a": "1"}, "mtu": 7, "sysctl": {"net.a": "2"}}',
  ]
  for (const document of documents)
    t.throws(
      () => refuseDuplicateKeys(document),
      { code: 7, message: 'duplicated sysctl keys are not allowed: "net.a"' },
      document,
    )
})

t.test('what stands twice elsewhere is none of its business', async t => {
  const documents = [
    '{"sysctl": {"net.a": "net.a", "net.b": "net.a"}, "x": "net.a"}',
    '{"sysctl": {"net.a": "1"}, "args": {"cni": {"sysctl": {"net.a": "2", "net.a": "3"}}}}',
    '{"x": {"a": 1, "a": 2}, "x": ["a", "a"], "sysctl": {}}',
    '{"list": ["sysctl", {"sysctl": {"a": 1}}, "a"], "sysctl": {"a": "1"}}',
  ]
  for (const document of documents) t.doesNotThrow(() => refuseDuplicateKeys(document), document)
})
