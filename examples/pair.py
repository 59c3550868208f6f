from ratatoskr import MARKETPLACE_SEARCH, RequestReceived, ResponseReceived, v1
from ratatoskr.testing import Pair

pair = Pair()  # a client's and a server's Connection, with a link and a clock between them
pair.open()
asked = pair.client.connection.request(MARKETPLACE_SEARCH, v1.Search(query="seeds"))
pair.run()
request = pair.server.take(RequestReceived)
pair.server.connection.respond(request.id, v1.SearchResult())
pair.run()
answer = pair.client.take(ResponseReceived)
assert answer.id is asked
assert answer.evidence.receipt() is None  # a search is delivered before it is sealed
pair.run(seconds=0.25)  # virtual time: nothing sleeps
assert answer.evidence.receipt() is not None
