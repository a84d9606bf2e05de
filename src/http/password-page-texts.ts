/** What the page for choosing a password says. Numbers stand apart, so that no noun has to follow them. */
import type { Language } from '#core/languages.ts'

export interface PasswordPageTexts {
  title: string
  login: string
  password: string
  repeat: string
  submit: string
  done: string
  unknownLink: string
  differs: string
  /** Followed by the number of characters. */
  tooShort: string
  tooLong: string
  forbiddenCharacter: string
  tooManyTries: string
  tryLater: string
  refused: string
}

export const passwordPageTexts: Readonly<Record<Language, PasswordPageTexts>> = {
  en: {
    title: 'Choose your password',
    login: 'Login',
    password: 'New password',
    repeat: 'Repeat the password',
    submit: 'Set password',
    done: 'Your password has been set. You can sign in with it now.',
    unknownLink: 'This link is not valid: it has been used, has expired or is incomplete. Ask for a new one.',
    differs: 'The two passwords are not the same.',
    tooShort: 'The password is too short. Minimum number of characters:',
    tooLong: 'The password is too long.',
    forbiddenCharacter: 'The password contains a character that is not allowed.',
    tooManyTries: 'Too many attempts. Please try again in a few minutes.',
    tryLater: 'The server is busy. Please try again.',
    refused: 'The request could not be understood.',
  },
  cs: {
    title: 'Zvolte si heslo',
    login: 'Přihlašovací jméno',
    password: 'Nové heslo',
    repeat: 'Heslo znovu',
    submit: 'Nastavit heslo',
    done: 'Vaše heslo bylo nastaveno. Nyní se s ním můžete přihlásit.',
    unknownLink: 'Tento odkaz není platný: již byl použit, vypršela jeho platnost nebo není úplný. Požádejte o nový.',
    differs: 'Hesla se neshodují.',
    tooShort: 'Heslo je příliš krátké. Nejmenší počet znaků:',
    tooLong: 'Heslo je příliš dlouhé.',
    forbiddenCharacter: 'Heslo obsahuje nepovolený znak.',
    tooManyTries: 'Příliš mnoho pokusů. Zkuste to prosím znovu za několik minut.',
    tryLater: 'Server je zaneprázdněn. Zkuste to prosím znovu.',
    refused: 'Požadavku nebylo možné porozumět.',
  },
  sk: {
    title: 'Zvoľte si heslo',
    login: 'Prihlasovacie meno',
    password: 'Nové heslo',
    repeat: 'Heslo znova',
    submit: 'Nastaviť heslo',
    done: 'Vaše heslo bolo nastavené. Teraz sa s ním môžete prihlásiť.',
    unknownLink:
      'Tento odkaz nie je platný: už bol použitý, vypršala jeho platnosť alebo nie je úplný. Požiadajte o nový.',
    differs: 'Heslá sa nezhodujú.',
    tooShort: 'Heslo je príliš krátke. Najmenší počet znakov:',
    tooLong: 'Heslo je príliš dlhé.',
    forbiddenCharacter: 'Heslo obsahuje nepovolený znak.',
    tooManyTries: 'Príliš veľa pokusov. Skúste to, prosím, znova o niekoľko minút.',
    tryLater: 'Server je zaneprázdnený. Skúste to, prosím, znova.',
    refused: 'Požiadavke nebolo možné porozumieť.',
  },
  hu: {
    title: 'Válasszon jelszót',
    login: 'Bejelentkezési név',
    password: 'Új jelszó',
    repeat: 'Jelszó ismét',
    submit: 'Jelszó beállítása',
    done: 'A jelszó beállítása megtörtént. Most már bejelentkezhet vele.',
    unknownLink: 'Ez a hivatkozás nem érvényes: már felhasználták, lejárt vagy hiányos. Kérjen újat.',
    differs: 'A két jelszó nem egyezik.',
    tooShort: 'A jelszó túl rövid. A karakterek legkisebb száma:',
    tooLong: 'A jelszó túl hosszú.',
    forbiddenCharacter: 'A jelszó nem megengedett karaktert tartalmaz.',
    tooManyTries: 'Túl sok próbálkozás. Kérjük, próbálja újra néhány perc múlva.',
    tryLater: 'A kiszolgáló túlterhelt. Kérjük, próbálja újra.',
    refused: 'A kérés nem értelmezhető.',
  },
  de: {
    title: 'Wählen Sie Ihr Passwort',
    login: 'Anmeldename',
    password: 'Neues Passwort',
    repeat: 'Passwort wiederholen',
    submit: 'Passwort setzen',
    done: 'Ihr Passwort wurde gesetzt. Sie können sich jetzt damit anmelden.',
    unknownLink:
      'Dieser Link ist nicht gültig: Er wurde bereits benutzt, ist abgelaufen oder unvollständig. Fordern Sie einen neuen an.',
    differs: 'Die beiden Passwörter stimmen nicht überein.',
    tooShort: 'Das Passwort ist zu kurz. Mindestanzahl der Zeichen:',
    tooLong: 'Das Passwort ist zu lang.',
    forbiddenCharacter: 'Das Passwort enthält ein Zeichen, das nicht erlaubt ist.',
    tooManyTries: 'Zu viele Versuche. Bitte versuchen Sie es in einigen Minuten erneut.',
    tryLater: 'Der Server ist ausgelastet. Bitte versuchen Sie es erneut.',
    refused: 'Die Anfrage war nicht verständlich.',
  },
}
