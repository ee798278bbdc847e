// The notes: how long they take to say, and at what time each slide begins.
import { read } from './figures.mjs';

const WORDS_PER_MINUTE = 140;
const MINUTES = [28, 30];
const MAX_WORDS = 190;

const seconds = (text) => text.trim().split(/\s+/).length * 60 / WORDS_PER_MINUTE;
const demos = (text) => [...text.matchAll(/^\[demo (\d+):(\d\d)\]/gm)].reduce((sum, [, minutes, rest]) => sum + 60 * Number(minutes) + Number(rest), 0);
const clock = (at) => `${Math.floor(at / 60)}:${String(Math.floor(at % 60)).padStart(2, '0')}`;

// A line in brackets is a cue, and not said.
const CUE = /^\[.*$/gm;

// The presenter's view breaks lines itself; lists and tables keep theirs.
const joined = (text) => text.replace(CUE, '\n$&\n').split(/\n\s*\n/).map((paragraph) => paragraph.trim().replace(/\n(?![-|] ?)/g, ' ')).filter(Boolean).join('\n\n');

// The slides with their notes joined, each of the talk behind the time at which it begins. Those after "Questions" are not
// part of the talk.
export function withClock(slides) {
    let now = 0;
    let isTalk = true;
    const timed = slides.map((slide, at) => {
        const [, notes] = slide.match(/^<!--\n([^]*?)\n-->/m) ?? [];
        const title = slide.match(/^#+ (.*)$/m)?.[1] ?? 'no title';
        if (notes === undefined) throw new Error(`slide ${at + 1} (${title}) has no notes`);
        if (!isTalk) return slide.replace(notes, () => joined(notes));
        const begins = now;
        const words = notes.replace(CUE, '');
        if (words.trim().split(/\s+/).length > MAX_WORDS) throw new Error(`slide ${at + 1} (${title}): more than ${MAX_WORDS} words of notes`);
        now += seconds(words) + demos(notes);
        isTalk = !/^<!-- _class: .*\bquestions\b/m.test(slide);
        return slide.replace(notes, () => `${clock(begins)}\n\n${joined(notes)}`);
    });
    const minutes = now / 60;
    if (minutes < MINUTES[0] || minutes > MINUTES[1]) throw new Error(`the talk takes ${minutes.toFixed(1)} minutes at ${WORDS_PER_MINUTE} words per minute, with demos: not ${MINUTES.join(' to ')}`);
    return { slides: timed, minutes };
}

// The answer in docs/questions.md, for the notes of the slide with this question.
export function answer(question) {
    const section = read('docs/questions.md').split(/^## /m).slice(1).find((text) => text.startsWith(`${question}\n`));
    if (!section) throw new Error(`docs/questions.md does not have "${question}"`);
    return section.slice(question.length + 1).replace(/<!--[^]*?-->\n?/g, '').replace(/^```[^]*?^```$/gm, '').replace(/\]\([^)]*\)/g, ']').trim();
}

// Every question of docs/questions.md is on a slide of its own.
export function unanswered(source) {
    return [...read('docs/questions.md').matchAll(/^## (.*)$/gm)].map(([, question]) => question).filter((question) => !source.includes(`{{answer ${question}}}`));
}
