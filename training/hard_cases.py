"""Short reviews that are hard to classify, and texts that are not English prose, all written for this project.

They are only measured on, never trained on. Each review has the label that its author intended.
"""

import string

import numpy as np

REVIEWS: dict[str, tuple[tuple[str, str], ...]] = {
    "negation": (
        ("I did not like this film at all.", "neg"),
        ("There is nothing here that anyone could dislike.", "pos"),
        ("I would never say that this was time wasted.", "pos"),
        ("Not once did I laugh, and it calls itself a comedy.", "neg"),
        ("You won't find a finer performance this year.", "pos"),
        ("It isn't clever, it isn't moving and it isn't short.", "neg"),
        ("I can't recommend it highly enough.", "pos"),
        ("No scene in it works, no joke lands.", "neg"),
    ),
    "not bad": (
        ("Not bad at all, I was surprised how much I enjoyed myself.", "pos"),
        ("For a sequel it is not half bad.", "pos"),
        ("It's not bad, it's worse than that.", "neg"),
        ("Not the worst way to spend an evening; I would see it again.", "pos"),
        ("I have to admit it, this was far from terrible: I loved every minute.", "pos"),
        ("Not a bad idea for a film, but the film is bad.", "neg"),
    ),
    "sarcasm": (
        ("Oh great, another two hours of people shouting at a green screen. Just what the world needed.", "neg"),
        ("If you have trouble sleeping, this masterpiece will cure you.", "neg"),
        ("My favourite part was the end credits, because then I could leave.", "neg"),
        ("What a triumph: they managed to make dinosaurs boring.", "neg"),
        ("Congratulations to the director, who has found a way to make ninety minutes feel like a week.", "neg"),
        ("A brilliant film, if you are four years old and asleep.", "neg"),
    ),
    "turns at the end": (
        ("The first half hour is slow and the hero is annoying, yet by the end I was in tears. See it.", "pos"),
        ("Great cast, lovely music, beautiful costumes, and a script so stupid that none of it matters.", "neg"),
        ("I went in expecting rubbish, and everybody had warned me. They were all wrong.", "pos"),
        ("It starts wonderfully, with wit and charm. Then the plot arrives and kills it stone dead.", "neg"),
        ("The effects are cheap, the acting is wooden and I would not change a thing: pure joy.", "pos"),
        ("Everybody told me that this was a classic. I wish I had those two hours back.", "neg"),
    ),
    "comparison": (
        ("The book was far better; the film left out everything I cared about.", "neg"),
        ("It makes the original look like the work of amateurs.", "pos"),
        ("Next to this, watching paint dry is a thriller.", "neg"),
        ("I have seen many good films this year and this beats them all.", "pos"),
        ("A pale copy of a much better film.", "neg"),
        ("At last a remake that is better than what it was made of.", "pos"),
    ),
}

NOT_PROSE: dict[str, tuple[str, ...]] = {
    "other languages": (
        "Der Film hat mich von der ersten Minute an gefesselt, und die Schauspieler sind großartig.",
        "Leider war die Geschichte langweilig, und nach einer Stunde bin ich eingeschlafen.",
        "Ein wunderbarer Abend im Kino, ich würde ihn jederzeit wieder ansehen.",
        "Ce film est magnifique, les acteurs jouent très bien et la musique est superbe.",
        "Je me suis ennuyé pendant deux heures, l'histoire ne va nulle part.",
        "Une belle surprise, je ne m'attendais pas à rire autant.",
        "Una película aburrida que no cuenta nada nuevo, me dormí a la mitad.",
        "Los actores están muy bien y la fotografía es preciosa, la recomiendo.",
        "Nunca había visto nada tan divertido en el cine este año.",
        "Il film è bellissimo, con una storia semplice e attori bravissimi.",
        "Non mi è piaciuto per niente, troppo lungo e senza idee.",
        "O filme é lindo, mas a história demora muito para começar.",
        "De film was saai en duurde veel te lang, ik zou hem niet aanraden.",
        "Filmen var underbar och skådespelarna spelade mycket bra.",
        "Ten film był nudny i za długi, nie polecam nikomu.",
        "Elokuva oli hieno, ja näyttelijät tekivät hyvää työtä.",
        "Bu film çok güzeldi, oyuncular harikaydı.",
        "Фильм очень скучный, я уснул через полчаса.",
        "Прекрасная история и замечательные актёры, всем советую.",
        "Η ταινία ήταν υπέροχη και οι ηθοποιοί εξαιρετικοί.",
        "この映画はとても面白かったです。もう一度見たいです。",
        "这部电影非常无聊，我看到一半就睡着了。",
        "영화가 정말 재미있었고 배우들의 연기도 훌륭했다.",
        "الفيلم رائع جدا والممثلون ممتازون.",
        "הסרט היה משעמם מאוד ולא הייתי ממליץ עליו.",
        "यह फिल्म बहुत अच्छी थी और कलाकारों ने कमाल कर दिया।",
    ),
    "code": (
        "def add(a, b):\n    return a + b\n\nprint(add(2, 3))",
        "SELECT title, AVG(stars) FROM ratings GROUP BY title ORDER BY 2 DESC;",
        "for (int i = 0; i < n; ++i) { sum += values[i] * weights[i]; }",
        "<div class=\"card\"><img src=\"a.png\" alt=\"\"><p>{{ title }}</p></div>",
        "git rebase --onto main feature~3 feature && git push --force-with-lease",
        "import numpy as np; x = np.linspace(0, 1, 101).reshape(-1, 1)",
        "{\"id\": 7, \"tags\": [\"new\", \"sale\"], \"price\": 19.99}",
        "kubectl get pods -n kube-system -o jsonpath='{.items[*].metadata.name}'",
    ),
    "letters at random": tuple(
        " ".join(
            "".join(rng.choice(list(string.ascii_lowercase), rng.integers(2, 10))) for _ in range(rng.integers(4, 25))
        )
        for rng in (np.random.default_rng(seed) for seed in range(50))
    ),
    "signs and numbers": (
        "😀😀😀🎬🍿", "!!!???...", "10/10", "* * * * *", "12 34 56 78 90", "¯\\_(ツ)_/¯", "👍", "$$$ %%% &&&",
        "3.14159265", "—————", "☆☆☆☆☆",
    ),
    "lists of names": (
        "Akira Kurosawa, Yasujiro Ozu, Kenji Mizoguchi, Masaki Kobayashi, Hirokazu Koreeda",
        "Reykjavik Oslo Helsinki Tallinn Riga Vilnius Warszawa Bratislava Ljubljana",
        "Acetaminophen 500 mg, ibuprofen 200 mg, loratadine 10 mg, omeprazole 20 mg",
        "Quercus robur, Fagus sylvatica, Acer pseudoplatanus, Betula pendula, Tilia cordata",
        "Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann",
        "BTCUSD ETHUSD XRPUSD SOLUSD ADAUSD DOGEUSD DOTUSD LTCUSD",
    ),
}  # fmt: skip
