import type { MailTexts } from '#core/mail-text.ts'

export const hu: MailTexts = {
  greeting: 'Tisztelt Címzett!',
  ending: 'Ezt az üzenetet automatikusan küldtük. Kérjük, ne válaszoljon rá.',
  deliveries: {
    'delivery-arrived': {
      subject: label => `Új küldemény: ${label}`,
      opening: 'Önnek küldeménye érkezett.',
      closing: 'Az azonosító alapján tudja a kiszolgáló, melyik küldeményt szeretné megnyitni.',
    },
    'approval-needed': {
      subject: label => `Jóváhagyásra vár: ${label}`,
      opening: 'Egy küldemény az Ön jóváhagyására vár.',
      closing: 'A címzettek csak a jóváhagyás után nyithatják meg.',
    },
    'delivery-approved': {
      subject: label => `Jóváhagyva: ${label}`,
      opening: 'Küldeményét jóváhagyták.',
      closing: 'A címzettek most már megnyithatják.',
    },
    'delivery-refused': {
      subject: label => `Nincs jóváhagyva: ${label}`,
      opening: 'Küldeményét nem hagyták jóvá.',
      closing: 'A címzettek nem nyithatják meg.',
    },
    'delivery-quarantined': {
      subject: label => `Karanténban: ${label}`,
      opening: 'Küldeménye olyasmit tartalmaz, ami káros lehet, vagy amit nem szabad elküldeni.',
      closing: 'A küldemény karanténban van, és csak akkor nyitható meg, ha egy rendszergazda feloldja.',
    },
  },
  password: {
    subject: 'Válasszon jelszót',
    opening: 'Kérjük, ezen az oldalon válasszon jelszót a fiókjához:',
    closing: 'A hivatkozás egyszer használható. Ha nem várta ezt az üzenetet, hagyja figyelmen kívül.',
  },
  test: {
    subject: 'Tesztüzenet',
    opening: 'Ez egy tesztüzenet. Azt mutatja, hogy a kiszolgáló tud levelet küldeni erre a címre.',
  },
  note: 'A feladó megjegyzése:',
  names: {
    sender: 'Feladó',
    label: 'Tárgy',
    until: 'Elérhető eddig',
    id: 'A küldemény azonosítója',
    server: 'Kiszolgáló',
    login: 'Bejelentkezési név',
    linkUntil: 'A hivatkozás érvényes eddig',
  },
  endless: 'időkorlát nélkül',
}
