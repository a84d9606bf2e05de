import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bankAccountMatcher, isBankAccount } from './bank-accounts.ts'
import { cardNumberMatcher, hasCheckDigit, isCardNumber } from './card-numbers.ts'

/** Numbers that the issuers publish for tests. */
const cards = [
  '4111111111111111',
  '4222222222222',
  '5500005555555559',
  '2223003122003222',
  '378282246310005',
  '30569309025904',
  '6011111111111117',
  '3530111333300000',
  '6200000000000005',
]

test.for(cards)('%s is a card number', digits => {
  expect(isCardNumber(digits)).toBe(true)
  expect(cardNumberMatcher(`no. ${digits}.`, 0)?.key).toBe(digits)
})

test('a number whose check digit is right has a wrong one when any digit is changed', () => {
  const digit = fc.integer({ min: 0, max: 9 })
  fc.assert(
    fc.property(
      fc.array(digit, { minLength: 5, maxLength: 18 }),
      fc.nat(),
      fc.integer({ min: 1, max: 9 }),
      (row, at, by) => {
        const check = Array.from({ length: 10 }, (_, last) => [...row, last].join('')).filter(hasCheckDigit)
        expect(check).toHaveLength(1)
        const changed = Array.from(check[0]!, Number)
        const place = at % changed.length
        changed[place] = (changed[place]! + by) % 10
        expect(hasCheckDigit(changed.join(''))).toBe(false)
      },
    ),
  )
})

test.for([
  ['4111 1111 1111 1111', '4111111111111111'],
  ['4111-1111-1111-1111', '4111111111111111'],
  ['3782 822463 10005', '378282246310005'],
  ['2024-01-05 4111 1111 1111 1111 12/27', '4111111111111111'],
  ['12 34 4111 1111 1111 1111', '4111111111111111'],
  ['4111111111111111,5500005555555559', '4111111111111111'],
])('%s holds a card number', ([text, key]) => {
  expect(cardNumberMatcher(text!, 0)?.key).toBe(key)
})

test.for([
  '4111 1111 1111 1112',
  '94111111111111111',
  '41111111111111110',
  '4111-1111 1111-1111',
  '4111  1111  1111  1111',
  '0.4111111111111111',
  '0000000000000000',
  '6666666666666',
  '9999 9999 9999 9995',
  '1234567890123452',
])('%s holds no card number', text => {
  expect(cardNumberMatcher(text, 0)).toBeUndefined()
})

/** Examples from the registry of account numbers. */
const accounts = [
  'DE89370400440532013000',
  'GB29NWBK60161331926819',
  'FR1420041010050500013M02606',
  'NO9386011117947',
  'MT84MALT011000012345MTLCAST001S',
  'CH9300762011623852957',
  'AT611904300234573201',
]

test.for(accounts)('%s is an account number, in one piece, in groups and in small letters', account => {
  expect(isBankAccount(account)).toBe(true)
  const groups = account.replace(/(.{4})(?=.)/g, '$1 ')
  for (const text of [account, groups, account.toLowerCase(), `(${account})`, `IBAN: ${groups}\n`]) {
    expect(bankAccountMatcher(text, 0)?.key).toBe(account)
  }
  expect(bankAccountMatcher(`${account}9`, 0)).toBeUndefined()
  expect(bankAccountMatcher(`X${account}`, 0)).toBeUndefined()
})

test('an account number with one character changed is none', () => {
  fc.assert(
    fc.property(fc.constantFrom(...accounts), fc.nat(), fc.integer({ min: 1, max: 9 }), (account, at, by) => {
      const digits = [...account.matchAll(/\d/g)].map(match => match.index)
      const place = digits[at % digits.length]!
      const changed = account.slice(0, place) + ((Number(account[place]) + by) % 10) + account.slice(place + 1)
      expect(isBankAccount(changed)).toBe(false)
    }),
  )
})

test.for([
  'DE8937040044053201300',
  'ZZ89370400440532013000',
  'DE89  3704 0044 0532 0130 00',
  'DE89_370400440532013000',
])('%s is no account number', text => {
  expect(bankAccountMatcher(text, 0)).toBeUndefined()
})
