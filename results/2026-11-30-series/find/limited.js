// Echoes at most 20,000 messages per second, in order, by the clock.
const {WebSocketServer}=require('ws');const EVERY_NS=50000n;
const w=new WebSocketServer({port:+process.argv[2],host:'127.0.0.1',perMessageDeflate:false});
const q=[];let head=0,next=0n;
function pump(){const now=process.hrtime.bigint();
  while(head<q.length && next<=now){const [c,m,b]=q[head++];c.send(m,{binary:b});next+=EVERY_NS;}
  if(head===q.length){q.length=0;head=0;}else setImmediate(pump);}
w.on('connection',c=>c.on('message',(m,b)=>{const now=process.hrtime.bigint();if(q.length===0&&next<now)next=now;q.push([c,m,b]);if(q.length-head===1)pump();}));
w.on('listening',()=>console.log('up'));
