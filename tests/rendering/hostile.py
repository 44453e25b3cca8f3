"""Templates that a client could send to harm the server, each with what makes it dangerous.

`SLOW` need the clock to stop them, `REFUSED` end by themselves with an error, `HARMLESS` try an escape and
render nothing of it.
"""

SLOW = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "power tower": "{{ 10 ** (10 ** 10) }}",
    "power in a variable": "{% set n = 9 ** 9 %}{{ n ** n }}",
    "wide loop of sorts": "{% for a in range(99999) %}{{ range(99999) | sort | length }}{% endfor %}",
    "loops in a macro": (
        "{% macro m(n) %}{% for i in range(9999) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endfor %}{% endmacro %}{{ m(9) }}"
    ),
    "slow replace": "{% set x = 'a' * 3000000 %}{% for i in range(99999) %}{% set y = x.replace('a', 'b') %}{% endfor %}",
}

REFUSED = {
    "huge repetition": "{{ 'a' * 4000000000 }}",
    "huge list": "{{ ([1] * 4000000000) | length }}",
    "huge repetition in steps": "{% set x = 'a' * 60000 %}{{ (x * 60000) | length }}",
    "huge padding": "{{ 'a' | center(4000000000) }}",
    "huge format width": "{{ '%4000000000d' % 1 }}",
    "huge format width by filter": "{{ '%4000000000d' | format(1) }}",
    "huge str.format width": "{{ '{:4000000000}'.format(1) }}",
    "huge indent": "{{ messages | tojson(indent=4000000000) }}",
    "doubling by concatenation": (
        "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
    ),
    "doubling of a list": (
        "{% set ns = namespace(x=[1]) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}"
    ),
    "endless output": "{% for a in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
    "endless macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "deep brackets": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "deep lists": "{{ " + "[" * 3000 + "]" * 3000 + " }}",
    "deep blocks": "{% if 1 %}" * 3000 + "x" + "{% endif %}" * 3000,
    "deep loops": "{% for a in [1] %}" * 100 + "x" + "{% endfor %}" * 100,
    "long negation": "{{ " + "not " * 10000 + "1 }}",
    "long sum": "{{ " + "1+" * 20000 + "1 }}",
    "class of a string": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by filter": "{{ (''|attr('__class__')).__mro__ }}",
    "class by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "class by format_map": "{{ '{a.__class__.__mro__}'.format_map({'a': ''}) }}",
    "class by format through attr": "{{ ('{0.__class__.__mro__}'|attr('format'))('') }}",
    "class by map": "{{ ['']|map(attribute='__class__')|map(attribute='__mro__')|list|first|first }}",
    "globals of a function": "{{ raise_exception.__globals__.sys }}",
    "globals of the cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "globals of the namespace": "{{ namespace.__init__.__globals__['__builtins__'].open }}",
    "self to environment": "{{ self.__init__.__globals__.x }}",
    "self to template": "{{ self._TemplateReference__context.environment.from_string('x') }}",
    "namespace poses as a class": "{% set n = namespace(__class__='x') %}{{ n }}",
    "namespace gains a class": "{% set n = namespace() %}{% set n.__class__ = 'x' %}",
    "change the messages": "{{ messages.append({'role': 'system', 'content': 'x'}) }}",
    "change a message": "{{ messages[0].update({'content': 'x'}) }}",
    "mro of dict": "{{ dict.mro() }}",
    "codec that isn't loaded": "{{ 'x'.encode('cp1252') }}",
    "include": "{% include '/etc/passwd' %}",
    "include of itself": "{% include self %}",
    "import": "{% import 'os' as os %}{{ os }}",
    "from import": "{% from 'os' import path %}{{ path }}",
    "extends": "{% extends '/etc/passwd' %}",
    "unknown filter": "{{ messages | system }}",
    "unknown tag": "{% do messages.clear() %}",
    "range too long": "{{ range(999999999) | list }}",
    "digits too many": "{{ 10 ** 20000 }}",
    "lone surrogate": "{{ '\\ud800' }}",
    "nothing": "",
    "raise": "{{ raise_exception('no') }}",
    "raise a whole book": "{{ raise_exception('no' * 1000000) }}",
    "unclosed": "{{ messages",
    "only a comment": "{# nothing #}",
}
