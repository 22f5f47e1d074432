/**
 * Regular expressions as Go's regexp package reads them. What means the same to both is taken over, what has another
 * spelling is translated, and the rest is refused: a list of what is allowed must not come to allow something else.
 * @see the documentation of Go's regexp/syntax
 */

/** Named classes of ASCII, as they stand within brackets: [[:alpha:]_]. */
const namedClasses: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7F',
  blank: '\\t ',
  cntrl: '\\x00-\\x1F\\x7F',
  digit: '0-9',
  graph: '!-~',
  lower: 'a-z',
  print: ' -~',
  punct: '!-\\/:-@\\[-`{-~',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
}

/** Letters that mean the same after a backslash. */
const commonEscapes = 'dDwWbBtnrfv'
/** White space as Go has it; JavaScript's has more. */
const space = '\\t\\n\\f\\r '

/** @throws SyntaxError for what is no expression, or one that cannot be said in JavaScript */
export function compileGoExpression(text: string): RegExp {
  const ignoresCase = text.startsWith('(?i)')
  let source = ''
  let inBrackets = false
  for (let index = ignoresCase ? 4 : 0; index < text.length; index++) {
    const character = text[index] ?? ''
    if (character === '\\') {
      source += escaped(text[++index], inBrackets)
    } else if (inBrackets && text.startsWith('[:', index)) {
      const end = text.indexOf(':]', index)
      const name = text.slice(index + 2, end)
      if (end < 0 || !Object.hasOwn(namedClasses, name)) throw new SyntaxError(`no class is called "${name}"`)
      source += namedClasses[name]
      index = end + 1
    } else if (!inBrackets && text.startsWith('(?', index) && text[index + 2] !== ':') {
      throw new SyntaxError(`"${text.slice(index, index + 4)}" is not supported here`)
    } else if (!inBrackets && character === '[') {
      inBrackets = true
      source += character
      // A bracket that comes first is one of the characters.
      if (text[index + 1] === '^') source += text[++index]
      if (text[index + 1] === ']') source += `\\${text[++index]}`
    } else {
      if (character === ']') inBrackets = false
      source += character === '[' ? '\\[' : character
    }
  }
  return new RegExp(source, ignoresCase ? 'i' : '')
}

function escaped(character: string | undefined, inBrackets: boolean): string {
  if (character === undefined) throw new SyntaxError('it ends with a backslash')
  if (character === 's') return inBrackets ? space : `[${space}]`
  if (character === 'S' && !inBrackets) return `[^${space}]`
  if (!inBrackets && character === 'A') return '^'
  if (!inBrackets && character === 'z') return '$'
  const isLetterOrDigit = (character >= '0' && character <= '9') || character.toLowerCase() !== character.toUpperCase()
  const isCommon = commonEscapes.includes(character) && !(inBrackets && (character === 'b' || character === 'B'))
  if (isLetterOrDigit && !isCommon) throw new SyntaxError(`"\\${character}" is not supported here`)
  return `\\${character}`
}
