"""Small sets in German, Chinese and Japanese, made for these tests: each line a question, and the passage that answers it.

Neighbouring lines are about nearly the same matter, so each is a distractor of the other.
"""

from __future__ import annotations

GERMAN = """
Wie lange ist die Kündigungsfrist für eine Mietwohnung? | Mieter können den Vertrag über eine Wohnung mit einer Frist von drei Monaten kündigen, jeweils zum Ende eines Monats.
Wann darf der Vermieter kündigen? | Ein Vermieter darf nur kündigen, wenn er ein berechtigtes Interesse hat, zum Beispiel Eigenbedarf für seine Familie.
Wie hoch darf die Kaution sein? | Als Sicherheit darf höchstens das Dreifache der Monatsmiete ohne Nebenkosten verlangt werden; die Kaution ist zu verzinsen.
Was zählt zu den Nebenkosten? | Zu den Nebenkosten gehören Wasser, Müllabfuhr, Grundsteuer, Hausmeister und die Reinigung des Treppenhauses.
Wie viele Urlaubstage stehen mir zu? | Der gesetzliche Mindesturlaub beträgt bei einer Woche von fünf Arbeitstagen zwanzig Tage im Jahr.
Verfällt Resturlaub am Jahresende? | Nicht genommener Urlaub verfällt Ende März des Folgejahres, wenn der Arbeitgeber rechtzeitig darauf hingewiesen hat.
Wann muss ich mich krankmelden? | Wer krank ist, teilt das dem Betrieb vor Beginn der Arbeitszeit mit und legt ab dem vierten Tag ein Attest vor.
Wer zahlt bei langer Krankheit den Lohn? | Nach sechs Wochen endet die Lohnfortzahlung, danach übernimmt die Krankenkasse und zahlt Krankengeld.
Wie werden Überstunden ausgeglichen? | Mehrarbeit wird innerhalb von drei Monaten durch Freizeit abgegolten oder mit einem Zuschlag von 25 Prozent vergütet.
Gibt es Zuschläge für Nachtarbeit? | Für Schichten zwischen 23 und 6 Uhr erhalten Beschäftigte einen angemessenen Zuschlag oder zusätzliche freie Tage.
Wie setze ich mein Passwort zurück? | Klicken Sie auf der Anmeldeseite auf „Kennwort vergessen“; Sie erhalten einen Link, mit dem Sie ein neues Passwort vergeben.
Wie lang muss ein Kennwort mindestens sein? | Ein Kennwort hat mindestens zwölf Zeichen und enthält Ziffern und Sonderzeichen.
Wie aktiviere ich die Anmeldung in zwei Schritten? | Unter Sicherheit lässt sich ein zweiter Faktor einschalten: eine App erzeugt bei jeder Anmeldung einen Code.
Warum ist mein Konto gesperrt? | Nach fünf falschen Eingaben wird das Benutzerkonto für dreißig Minuten gesperrt.
Wie kann ich eine Bestellung stornieren? | Solange das Paket noch nicht verschickt wurde, lassen sich Bestellungen unter „Meine Aufträge“ abbrechen und stornieren.
Wie schicke ich Ware zurück? | Rücksendungen sind vierzehn Tage lang kostenlos: drucken Sie das Etikett aus und geben Sie das Paket bei der Post ab.
Wann bekomme ich mein Geld zurück? | Den Kaufpreis erstatten wir spätestens fünf Werktage, nachdem die Rücksendung bei uns eingetroffen ist.
Was kostet der Versand ins Ausland? | Lieferungen nach Österreich und in die Schweiz kosten 12 Euro, in alle anderen Länder 20 Euro.
Wie pflege ich Holzfußböden? | Parkett wird nebelfeucht gewischt und einmal im Jahr geölt; stehendes Wasser schadet dem Holz.
Wie entfernt man Flecken aus dem Teppich? | Frische Flecken im Teppich tupft man mit lauwarmem Wasser und etwas Gallseife ab, ohne zu reiben.
Welche Bäume wachsen auf sauren Böden? | Auf sauren und nährstoffarmen Böden gedeihen Kiefern, Birken und Ebereschen.
Wann schneidet man Obstbäume? | Apfel- und Birnbäume werden im späten Winter geschnitten, Kirschen dagegen gleich nach der Ernte.
Wie vermehrt man Rosen? | Rosen lassen sich im August durch Stecklinge vermehren, die in feuchten Sand gesetzt werden.
Was hilft gegen Blattläuse? | Gegen Läuse an Pflanzen wirkt eine Lösung aus Schmierseife; Marienkäfer fressen sie ebenfalls.
Wie oft muss ein Auto zur Hauptuntersuchung? | Personenkraftwagen müssen alle zwei Jahre zur Hauptuntersuchung, Neuwagen erstmals nach drei Jahren.
Wann wechselt man Winterreifen? | Von Oktober bis Ostern fährt man mit Winterreifen; ihr Profil sollte mindestens vier Millimeter tief sein.
Was bedeutet eine gelbe Warnleuchte? | Leuchtet eine Anzeige gelb, kann man vorsichtig weiterfahren und sollte bald eine Werkstatt aufsuchen.
Wie lädt man ein Elektroauto zu Hause? | Eine Wandladestation lädt den Akku über Nacht; die Steckdose in der Garage ist dafür auf Dauer nicht geeignet.
Wer war der Erfinder des Buchdrucks? | Johannes Gutenberg erfand um 1450 in Mainz den Druck mit beweglichen Lettern.
Wann wurde die Berliner Mauer gebaut? | Im August 1961 begann die Regierung der DDR, Berlin durch eine Mauer zu teilen.
Wie entsteht Föhn in den Alpen? | Luft, die an den Bergen aufsteigt, regnet ab und fällt auf der anderen Seite warm und trocken ins Tal.
Welche Flüsse münden in die Nordsee? | Rhein, Weser, Ems und Elbe fließen in die Nordsee, die Oder dagegen in die Ostsee.
"""

CHINESE = """
租房押金最多可以收多少？ | 房东收取的押金一般不超过两个月的租金，合同结束后应当退还。
房屋租赁合同怎么提前解除？ | 承租人需要提前三十天书面通知房东，才能解除租赁合同。
员工每年有几天年假？ | 工作满一年不满十年的职工，每年享受五天带薪年休假。
病假需要提供什么证明？ | 请病假超过一天的员工，应当提交医院开具的诊断证明。
加班费怎么计算？ | 工作日加班按工资的百分之一百五十支付，法定节假日加班按百分之三百支付。
夜班有补贴吗？ | 晚上十点以后工作的员工，公司每班发放五十元夜班津贴。
忘记密码怎么办？ | 在登录页面点击“找回密码”，系统会向您的邮箱发送重置链接。
密码最少要多少位？ | 密码长度不得少于十二位，并且必须包含数字和特殊符号。
如何开启双重验证？ | 在安全设置中打开两步验证，登录时需要输入手机应用生成的验证码。
账号为什么被锁定？ | 连续输错五次密码后，账号会被锁定三十分钟。
怎样取消订单？ | 商品发货之前，可以在“我的订单”页面申请取消。
退货的运费由谁承担？ | 七天内无理由退货，运费由买家承担；质量问题由卖家承担。
退款多久到账？ | 仓库收到退回的商品后，退款会在五个工作日内原路返回。
寄到国外的邮费是多少？ | 国际快递按重量收费，首重五百克一百二十元。
木地板怎么保养？ | 实木地板要用拧干的拖把擦拭，每年打蜡一次，避免积水。
地毯上的污渍怎么清洗？ | 地毯沾上污渍后，应立即用温水和中性洗涤剂轻轻按压，不要用力擦。
绿茶用多少度的水冲泡？ | 冲泡绿茶适合用八十度左右的水，水太烫会使茶汤发苦。
红茶和乌龙茶有什么区别？ | 红茶是全发酵茶，乌龙茶属于半发酵茶，香气介于绿茶和红茶之间。
果树什么时候修剪？ | 苹果树和梨树在冬末修剪，樱桃树则在采摘以后修剪。
如何防治蚜虫？ | 植物上出现蚜虫时可以喷洒肥皂水，瓢虫也会吃掉它们。
汽车多久年检一次？ | 私家车六年以内每两年申领一次检验标志，超过六年每年检验一次。
什么时候应该更换轮胎？ | 轮胎花纹深度低于一点六毫米时必须更换。
电动车怎么在家充电？ | 安装家用充电桩后，可以利用夜间低谷电价给电动汽车充电。
长城是什么时候修建的？ | 现存的长城大部分建于明朝，最早的城墙可以追溯到春秋战国时期。
活字印刷术是谁发明的？ | 北宋的毕昇在十一世纪发明了泥活字印刷。
造纸术是谁改进的？ | 东汉的蔡伦改进了造纸方法，用树皮和破布制成纸张。
黄河流入哪个海？ | 黄河发源于青海，最后在山东省注入渤海。
长江有多长？ | 长江全长约六千三百公里，是亚洲最长的河流。
数据库怎么备份？ | 管理员可以每天凌晨执行备份任务，把数据导出到对象存储。
如何从备份中恢复数据？ | 恢复之前先停止服务，然后校验备份文件的哈希值并导入。
如何设置 max_tokens 参数？ | 参数 max_tokens 限制模型一次回答生成的最大词元数量。
temperature 参数有什么作用？ | 把 temperature 调低，模型的输出会更加稳定和确定。
"""

JAPANESE = """
敷金は最大いくらですか？ | 賃貸住宅の敷金は家賃の二か月分までとし、退去のときに返還します。
賃貸契約を解約するには？ | 借主は一か月前までに書面で知らせることで、契約を解約できます。
有給休暇は何日もらえますか？ | 入社から半年働いた社員には、年に十日の有給休暇が与えられます。
病気で休むときに必要な書類は？ | 病気で三日以上休む場合は、医師の診断書を提出してください。
残業代はどう計算しますか？ | 時間外労働には、通常の賃金の二割五分増しの残業代を支払います。
深夜勤務に手当はありますか？ | 午後十時以降に働く人には、深夜手当が支給されます。
パスワードを忘れたらどうすればよいですか？ | ログイン画面の「再設定」を押すと、新しいパスワードを決めるためのメールが届きます。
パスワードは何文字以上ですか？ | パスワードは十二文字以上で、数字と記号を含めてください。
二段階認証を有効にする方法は？ | 設定の「安全」から二段階認証を有効にすると、アプリのコードが必要になります。
アカウントがロックされた理由は？ | 五回続けて間違えると、アカウントは三十分間ロックされます。
注文をキャンセルできますか？ | 発送の前であれば、注文履歴の画面からキャンセルできます。
返品の送料は誰が払いますか？ | お客様の都合による返品では、送料はお客様の負担になります。
返金はいつ届きますか？ | 返送された商品が倉庫に着いてから五営業日以内に返金します。
海外への配送料はいくらですか？ | 海外への配送は重さによって料金が変わり、一キロまで二千円です。
木の床の手入れはどうしますか？ | 木の床は固く絞った布で拭き、年に一度ワックスを塗ります。
カーペットの染みを落とすには？ | カーペットに染みがついたら、ぬるま湯と洗剤で軽くたたいて落とします。
緑茶は何度のお湯で入れますか？ | 緑茶は八十度くらいのお湯で入れると、苦みが出にくくなります。
紅茶とウーロン茶の違いは？ | 紅茶は完全に発酵させた茶で、ウーロン茶は途中で発酵を止めます。
果樹の剪定はいつ行いますか？ | りんごやなしの木は冬の終わりに剪定し、さくらんぼは収穫の後に行います。
アブラムシを防ぐには？ | 植物にアブラムシが付いたら石けん水をかけます。てんとう虫も食べてくれます。
車検は何年ごとに受けますか？ | 自家用車は新車から三年、その後は二年ごとに車検を受けます。
タイヤはいつ交換すべきですか？ | 溝の深さが一・六ミリより浅くなったタイヤは交換しなければなりません。
電気自動車を家で充電するには？ | 自宅に充電器を付ければ、夜の安い電気で車を充電できます。
富士山の高さはどれくらいですか？ | 富士山は標高三千七百七十六メートルで、日本で一番高い山です。
日本で一番長い川は？ | 信濃川は長さ三百六十七キロで、日本で最も長い川です。
琵琶湖はどこにありますか？ | 琵琶湖は滋賀県にある日本最大の湖です。
データベースのバックアップはどう取りますか？ | 管理者は毎晩データを書き出し、バックアップとして別の場所に保存します。
バックアップから復元する手順は？ | 復元する前にサービスを止め、ファイルの検査値を確かめてから読み込みます。
max_tokens は何を決めますか？ | max_tokens は、一度の回答で生成できるトークンの上限です。
temperature を下げるとどうなりますか？ | temperature を下げると、回答のばらつきが小さくなります。
コンテナをデプロイする方法は？ | イメージを登録してから、デプロイの命令でコンテナを起動します。
依存関係を注入するには？ | 関数の引数に依存する部品を宣言すると、枠組みが値を注入します。
"""


def pairs(lines: str) -> list[tuple[str, str]]:
    """Return the questions with their passages."""
    return [(question, passage) for question, passage in (line.split(" | ") for line in lines.strip().splitlines())]
