/** Where a text stops being JSON. JSON.parse does not say so in every runtime, and a user needs the place. */

const space = /[ \t\n\r]*/y
const scalar =
  /"(?:[ !#-[\]-\uffff]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y

/** What may come next. */
type State = 'a value' | 'a value or "]"' | 'a key or "}"' | 'a key' | '":"' | '"," or a bracket' | 'the end'

/** A sentence such as `line 3, column 7: expected ":"`, or undefined when the text is JSON. */
export function describeSyntaxError(text: string): string | undefined {
  const open: ('{' | '[')[] = []
  let state: State = 'a value'
  let offset = 0
  const afterValue = (): State => (open.length === 0 ? 'the end' : '"," or a bracket')
  for (;;) {
    offset += matchAt(space, text, offset).length
    const character = text[offset]
    if (character === undefined) return state === 'the end' ? undefined : explain(text, offset, state)
    const inside = open.at(-1)
    const token: string = matchAt(scalar, text, offset) || character
    const startsKey = state === 'a key' || state === 'a key or "}"'
    const startsValue = state === 'a value' || state === 'a value or "]"'
    if (startsKey && token.length > 1 && character === '"') state = '":"'
    else if (state === '":"' && token === ':') state = 'a value'
    else if (startsValue && character === '{') state = push(open, '{')
    else if (startsValue && character === '[') state = push(open, '[')
    else if (startsValue && isScalar(token)) state = afterValue()
    else if (state === '"," or a bracket' && token === ',') state = inside === '{' ? 'a key' : 'a value'
    else if (mayClose(state, inside, token)) {
      open.pop()
      state = afterValue()
    } else return explain(text, offset, state)
    offset += token.length
  }
}

function push(open: ('{' | '[')[], bracket: '{' | '['): State {
  open.push(bracket)
  return bracket === '{' ? 'a key or "}"' : 'a value or "]"'
}

function mayClose(state: State, inside: '{' | '[' | undefined, token: string): boolean {
  if (token === '}') return inside === '{' && (state === '"," or a bracket' || state === 'a key or "}"')
  return token === ']' && inside === '[' && (state === '"," or a bracket' || state === 'a value or "]"')
}

/** A single digit is a scalar too; other single characters are what `matchAt` fell back to. */
function isScalar(token: string): boolean {
  return token.length > 1 || /[0-9]/.test(token)
}

function matchAt(pattern: RegExp, text: string, offset: number): string {
  pattern.lastIndex = offset
  return pattern.exec(text)?.[0] ?? ''
}

function explain(text: string, offset: number, expected: State): string {
  const before = text.slice(0, offset).split('\n')
  const place = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`
  const found = offset >= text.length ? 'the text ends' : `found ${JSON.stringify(text.slice(offset, offset + 20))}`
  return `${place}: ${found}, expected ${expected}`
}
